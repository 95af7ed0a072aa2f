//! The eBPF programs of the Linux sensor.
#![no_std]
#![no_main]
