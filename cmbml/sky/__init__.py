"""The science of the microwave sky: pure functions from arrays to arrays."""
