//! What happened: a body for each kind.

use event::Kind;

use crate::schema::{Declared as _, Field, fields_of};
use crate::visit::{Form as _, MaybeGroup, Source, Visitor};
use crate::{
    Detection, ExecFailed, ImageDetails, ImageLoad, ImageUnload, Lost, Mark, ProcessExec,
    ProcessExit, ProcessStart, SensorStart, SensorStop, ThreadExit, ThreadStart,
};

/// The body of each kind; the large ones are boxed, since threads and images come by the million.
macro_rules! bodies {
    ($($kind:ident => $body:ident($type:ty)$(, $boxed:ident)?;)+) => {
        /// What happened.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Body {
            $(
                #[doc = concat!("See [`", stringify!($body), "`](crate::", stringify!($body), ").")]
                $body(bodies!(@type $type $(, $boxed)?)),
            )+
        }

        impl Body {
            /// The kind.
            pub const fn kind(&self) -> Kind {
                match self {
                    $(Self::$body(_) => Kind::$kind,)+
                }
            }

            /// Shows the fields of the kind's own to `visitor`.
            #[inline]
            pub fn visit<'e, V: Visitor<'e>>(&'e self, visitor: &mut V) {
                match self {
                    $(Self::$body(body) => body.visit(visitor),)+
                }
            }

            /// Takes the body of a kind from `source`; `None` for a kind this version does not know.
            ///
            /// # Errors
            /// What `source` says of the first field that is not as declared.
            pub fn read<S: Source>(kind: Kind, source: &mut S) -> Result<Option<Self>, S::Error> {
                Ok(Some(match kind {
                    $(Kind::$kind => Self::from(<$type>::read(source)?),)+
                    _ => return Ok(None),
                }))
            }
        }

        $(
            impl From<$type> for Body {
                fn from(body: $type) -> Self {
                    Self::$body(body.into())
                }
            }
        )+

        /// The fields of each kind's own.
        pub(crate) fn declared() -> Vec<(Kind, Vec<&'static Field>)> {
            vec![$((Kind::$kind, fields_of::<$type>()),)+]
        }
    };
    (@type $type:ty) => { $type };
    (@type $type:ty, boxed) => { Box<$type> };
}

bodies! {
    PROCESS_START => ProcessStart(ProcessStart), boxed;
    PROCESS_EXEC => ProcessExec(ProcessExec), boxed;
    PROCESS_EXIT => ProcessExit(ProcessExit);
    THREAD_START => ThreadStart(ThreadStart);
    THREAD_EXIT => ThreadExit(ThreadExit);
    IMAGE_LOAD => ImageLoad(ImageLoad);
    IMAGE_UNLOAD => ImageUnload(ImageUnload);
    EXEC_FAILED => ExecFailed(ExecFailed);
    IMAGE_DETAILS => ImageDetails(ImageDetails), boxed;
    DETECTION => Detection(Detection), boxed;
    LOST => Lost(Lost);
    SENSOR_START => SensorStart(SensorStart);
    SENSOR_STOP => SensorStop(SensorStop), boxed;
    MARK => Mark(Mark);
}

impl Body {
    /// Whether it tells of a process that did not end well.
    pub const fn has_failed(&self) -> bool {
        matches!(self, Self::ProcessExit(exit) if matches!(exit.exit_code, Some(code) if code != 0))
    }

    /// Whether it has fields that are kept in the notes.
    pub const fn has_noted(&self) -> bool {
        match self {
            Self::ProcessStart(start) => start.details.is_some(),
            Self::ProcessExec(exec) => exec.details.is_some(),
            Self::ThreadStart(start) => start.details.is_some(),
            Self::ImageLoad(load) => load.details.is_some(),
            _ => false,
        }
    }

    /// Shows `visitor` the fields that are kept in the notes.
    pub(crate) fn visit_noted<'e, V: Visitor<'e>>(&'e self, visitor: &mut V) {
        match self {
            Self::ProcessStart(start) => start.details.iter().for_each(|own| own.visit(visitor)),
            Self::ProcessExec(exec) => exec.details.iter().for_each(|own| own.visit(visitor)),
            Self::ThreadStart(start) => start.details.iter().for_each(|own| own.visit(visitor)),
            Self::ImageLoad(load) => load.details.iter().for_each(|own| own.visit(visitor)),
            _ => {}
        }
    }

    /// Takes the fields that are kept in the notes from `source`.
    pub(crate) fn read_noted<S: Source>(&mut self, source: &mut S) -> Result<(), S::Error> {
        match self {
            Self::ProcessStart(start) => {
                start.details = MaybeGroup::read(&ProcessStart::details, source)?;
            }
            Self::ProcessExec(exec) => {
                exec.details = MaybeGroup::read(&ProcessExec::details, source)?;
            }
            Self::ThreadStart(start) => {
                start.details = MaybeGroup::read(&ThreadStart::details, source)?;
            }
            Self::ImageLoad(load) => {
                load.details = MaybeGroup::read(&ImageLoad::details, source)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The program, where the kind tells of one.
    pub const fn program(&self) -> Option<&crate::Program> {
        match self {
            Self::ProcessStart(start) => Some(&start.program),
            Self::ProcessExec(exec) => Some(&exec.program),
            _ => None,
        }
    }
}
