//! `systrail`: parse, call, print, exit code; nothing else.
fn main() {}
