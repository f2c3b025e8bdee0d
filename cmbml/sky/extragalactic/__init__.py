"""The extragalactic sky: radio sources, infrared background, thermal Sunyaev-Zeldovich effect."""
