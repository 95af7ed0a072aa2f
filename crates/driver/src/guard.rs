//! What Control Flow Guard needs of an image without a C runtime: the load configuration that names
//! the table of functions that may be called by pointer, and the two pointers through which the
//! code asks. The kernel points them at its own checks where it enforces kernel CFG (HVCI with
//! `KCFG`); elsewhere they stay as they are, and every call goes through.
//!
//! The layout is that of `IMAGE_LOAD_CONFIG_DIRECTORY64`, up to what Windows 10 reads of it; it is
//! described under "The Load Configuration Structure" of the PE format's specification.

#![expect(
    unsafe_code,
    reason = "linker and loader find all of this by the names of symbols and sections"
)]

use core::ffi::c_void;

/// An address that the linker or the loader fills in.
#[repr(transparent)]
struct Address(*const c_void);

// SAFETY: nobody in this image reads or writes through it.
unsafe impl Sync for Address {}

/// `CF_INSTRUMENTED`: calls are checked. `CF_FUNCTION_TABLE_PRESENT`: the table is there.
const GUARD_FLAGS: u32 = 0x100 | 0x400;

#[repr(C)]
struct LoadConfiguration {
    size: u32,
    time_date_stamp: u32,
    version: [u16; 2],
    global_flags: [u32; 2],
    critical_section_timeout: u32,
    heap: [u64; 6],
    process_heap_flags: u32,
    csd_version: u16,
    dependent_load_flags: u16,
    edit_list: u64,
    /// None: there is no `/GS` code here that would compare it.
    security_cookie: u64,
    exception_handlers: [u64; 2],
    check_pointer: Address,
    dispatch_pointer: Address,
    function_table: Address,
    /// A number, which the linker gives as the address of a symbol.
    function_count: Address,
    guard_flags: u32,
    code_integrity: [u32; 3],
    address_taken_imports: [u64; 2],
    long_jump_targets: [u64; 2],
}

const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(LoadConfiguration, security_cookie) == 88);
    assert!(offset_of!(LoadConfiguration, check_pointer) == 112);
    assert!(offset_of!(LoadConfiguration, function_count) == 136);
    assert!(offset_of!(LoadConfiguration, guard_flags) == 144);
    assert!(offset_of!(LoadConfiguration, address_taken_imports) == 160);
    assert!(size_of::<LoadConfiguration>() == 192);
};

unsafe extern "C" {
    /// Defined below.
    static __guard_check_icall_fptr: c_void;
    /// Defined below.
    static __guard_dispatch_icall_fptr: c_void;
    /// Made by the linker.
    static __guard_fids_table: c_void;
    /// Made by the linker.
    static __guard_fids_count: c_void;
}

/// The linker looks for this name.
#[unsafe(no_mangle)]
#[used]
static _load_config_used: LoadConfiguration = LoadConfiguration {
    size: 192,
    time_date_stamp: 0,
    version: [0; 2],
    global_flags: [0; 2],
    critical_section_timeout: 0,
    heap: [0; 6],
    process_heap_flags: 0,
    csd_version: 0,
    dependent_load_flags: 0,
    edit_list: 0,
    security_cookie: 0,
    exception_handlers: [0; 2],
    check_pointer: Address(&raw const __guard_check_icall_fptr),
    dispatch_pointer: Address(&raw const __guard_dispatch_icall_fptr),
    function_table: Address(&raw const __guard_fids_table),
    function_count: Address(&raw const __guard_fids_count),
    guard_flags: GUARD_FLAGS,
    code_integrity: [0; 3],
    address_taken_imports: [0; 2],
    long_jump_targets: [0; 2],
};

// Not Rust statics: the optimiser would read what stands there now, and not what the loader writes
// before it protects the image. A checked call asks through the first, with the address in `rcx`; a
// dispatched call goes through the second, with the address in `rax`.
core::arch::global_asm!(
    ".section .00cfg,\"dr\"",
    ".p2align 3",
    ".globl __guard_check_icall_fptr",
    "__guard_check_icall_fptr: .quad {allow}",
    ".globl __guard_dispatch_icall_fptr",
    "__guard_dispatch_icall_fptr: .quad {dispatch}",
    ".text",
    allow = sym allow,
    dispatch = sym dispatch,
);

#[unsafe(naked)]
unsafe extern "C" fn allow() {
    core::arch::naked_asm!("ret")
}

#[unsafe(naked)]
unsafe extern "C" fn dispatch() {
    core::arch::naked_asm!("jmp rax")
}

/// The library's functions name this personality, for they were compiled to unwind, and CFG keeps
/// the name although nothing that can unwind is left. Nobody calls it.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn __CxxFrameHandler3() {
    core::arch::naked_asm!("ud2")
}
