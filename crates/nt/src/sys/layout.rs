//! Size and offsets of every structure of this module, asserted wherever the crate is built.
//!
//! `cargo xtask layout` reads this table, refuses a structure or field that is not in it, and
//! compares the numbers with mingw-w64's DDK headers. What is called differently there, is declared
//! in part here or is missing there stands in `crates/xtask/src/layout/names.rs`.

use core::mem::offset_of;

use super::{
    CLIENT_ID, CREATE, DEVICE_IO_CONTROL, DEVICE_OBJECT, DRIVER_OBJECT, FILE_OBJECT, IMAGE_INFO,
    IO_ERROR_LOG_PACKET, IO_SECURITY_CONTEXT, IO_STACK_LOCATION, IO_STATUS_BLOCK, IRP, KDPC,
    KEY_VALUE_PARTIAL_INFORMATION, KTIMER, LIST_ENTRY, MDL, OBJECT_ATTRIBUTES, PARAMETERS,
    POINTER_ALIGNED, PS_CREATE_NOTIFY_INFO, READ, SECURITY_SUBJECT_CONTEXT, SID_AND_ATTRIBUTES,
    UNICODE_STRING,
};

/// `NAME SIZE { FIELD OFFSET, ... }`
macro_rules! layout {
    ($($name:ident $size:literal { $($field:tt $offset:literal),* $(,)? })*) => {
        $(const _: () = {
            assert!(size_of::<$name>() == $size);
            $(assert!(offset_of!($name, $field) == $offset);)*
        };)*
    };
}

layout! {
    UNICODE_STRING 16 { Length 0, MaximumLength 2, Buffer 8 }
    OBJECT_ATTRIBUTES 48 {
        Length 0, RootDirectory 8, ObjectName 16, Attributes 24, SecurityDescriptor 32,
        SecurityQualityOfService 40,
    }
    IO_STATUS_BLOCK 16 { Status 0, Information 8 }
    LIST_ENTRY 16 { Flink 0, Blink 8 }
    IRP 208 {
        Type 0, Size 2, MdlAddress 8, Flags 16, SystemBuffer 24, ThreadListEntry 32,
        IoStatus 48, RequestorMode 64, PendingReturned 65, StackCount 66, CurrentLocation 67,
        Cancel 68, CancelIrql 69, ApcEnvironment 70, AllocationFlags 71, UserIosb 72,
        UserEvent 80, Overlay 88, CancelRoutine 104, UserBuffer 112, DriverContext 120,
        Thread 152, AuxiliaryBuffer 160, ListEntry 168, CurrentStackLocation 184,
        OriginalFileObject 192, TailRest 200,
    }
    IO_STACK_LOCATION 72 {
        MajorFunction 0, MinorFunction 1, Flags 2, Control 3, Parameters 8, DeviceObject 40,
        FileObject 48, CompletionRoutine 56, Context 64,
    }
    PARAMETERS 32 { Create 0, Read 0, DeviceIoControl 0, Others 0 }
    CREATE 16 { SecurityContext 0, Options 8 }
    READ 4 { Length 0 }
    POINTER_ALIGNED 8 { 0 0 }
    DEVICE_IO_CONTROL 32 {
        OutputBufferLength 0, InputBufferLength 8, IoControlCode 16, Type3InputBuffer 24,
    }
    IO_SECURITY_CONTEXT 24 {
        SecurityQos 0, AccessState 8, DesiredAccess 16, FullCreateOptions 20,
    }
    FILE_OBJECT 104 {
        Type 0, Size 2, DeviceObject 8, Vpb 16, FsContext 24, FsContext2 32,
        SectionObjectPointer 40, PrivateCacheMap 48, FinalStatus 56, RelatedFileObject 64,
        LockOperation 72, DeletePending 73, ReadAccess 74, WriteAccess 75, DeleteAccess 76,
        SharedRead 77, SharedWrite 78, SharedDelete 79, Flags 80, FileName 88,
    }
    DEVICE_OBJECT 72 {
        Type 0, Size 2, ReferenceCount 4, DriverObject 8, NextDevice 16, AttachedDevice 24,
        CurrentIrp 32, Timer 40, Flags 48, Characteristics 52, Vpb 56, DeviceExtension 64,
    }
    DRIVER_OBJECT 336 {
        Type 0, Size 2, DeviceObject 8, Flags 16, DriverStart 24, DriverSize 32,
        DriverSection 40, DriverExtension 48, DriverName 56, HardwareDatabase 72,
        FastIoDispatch 80, DriverInit 88, DriverStartIo 96, DriverUnload 104,
        MajorFunction 112,
    }
    MDL 48 {
        Next 0, Size 8, MdlFlags 10, Process 16, MappedSystemVa 24, StartVa 32, ByteCount 40,
        ByteOffset 44,
    }
    KDPC 64 {
        Type 0, DpcListEntry 8, DeferredRoutine 24, DeferredContext 32,
        SystemArgument1 40, SystemArgument2 48, DpcData 56,
    }
    KTIMER 64 {
        Header 0, DueTime 24, TimerListEntry 32, Dpc 48, Processor 56, Period 60,
    }
    CLIENT_ID 16 { UniqueProcess 0, UniqueThread 8 }
    PS_CREATE_NOTIFY_INFO 72 {
        Size 0, Flags 8, ParentProcessId 16, CreatingThreadId 24, FileObject 40,
        ImageFileName 48, CommandLine 56, CreationStatus 64,
    }
    IMAGE_INFO 40 {
        Properties 0, ImageBase 8, ImageSelector 16, ImageSize 24, ImageSectionNumber 32,
    }
    SECURITY_SUBJECT_CONTEXT 32 {
        ClientToken 0, ImpersonationLevel 8, PrimaryToken 16, ProcessAuditId 24,
    }
    SID_AND_ATTRIBUTES 16 { Sid 0, Attributes 8 }
    IO_ERROR_LOG_PACKET 48 {
        MajorFunctionCode 0, RetryCount 1, DumpDataSize 2, NumberOfStrings 4, StringOffset 6,
        EventCategory 8, ErrorCode 12, UniqueErrorValue 16, FinalStatus 20, SequenceNumber 24,
        IoControlCode 28, DeviceOffset 32, DumpData 40,
    }
    KEY_VALUE_PARTIAL_INFORMATION 16 { TitleIndex 0, Type 4, DataLength 8, Data 12 }
}
