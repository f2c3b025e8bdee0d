"""Names of the methods of `cmbml clean`, for its help: the methods themselves take long to import."""

NAMES = (
    "nilc",
    "nilc_regularised",
    "hilc",
    "hilc_plain",
    "pyilc",
    "wiener",
    "gsc_unet",
    "cmbnncs",
    "patch_nn",
)
