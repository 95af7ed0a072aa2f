//! What the Windows sensor promises, on a device that a test scripts.
