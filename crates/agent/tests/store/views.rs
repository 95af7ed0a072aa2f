//! The views say what the events said.
