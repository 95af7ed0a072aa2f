//! Whatever happens to the medium: what was committed is there, the rest is counted.
