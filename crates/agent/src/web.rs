//! `systrail web`: a store in a browser.
//!
//! It reads the store and nothing else, and changes nothing. A file each puts together what a page asks for.

#![expect(dead_code, reason = "nobody serves it yet")]

mod overview;
mod processes;
mod sql;
