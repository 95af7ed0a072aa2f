//! Takes connections, and answers one request on each, in a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Options;
use super::access::{Access, Verdict};
use super::answer::Answer;
use super::live::Live;
use super::request::{Refused, Request};
use super::routes::Routes;
use super::stream::{Listener, Place, Stream};
use crate::sys::sockets;
use crate::sys::thread;
use crate::sys::wake::Waker;

/// Connections at once. A browser has a few.
const CONNECTIONS_MAX: usize = 64;

/// How long no connection is taken after the system refused to.
const REFUSED_PAUSE: Duration = Duration::from_millis(200);

/// Why it cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be had.
    #[error("listening at {place}: {source}; name another place with --listen")]
    Listen {
        /// The address, or the socket.
        place: Place,
        /// What the system said.
        source: io::Error,
    },
    /// A resource of the system.
    #[error("serving the store: {0}")]
    Io(#[from] io::Error),
}

/// Serves a store.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    place: Place,
    shared: Arc<Shared>,
}

/// What every connection's thread knows.
#[derive(Debug)]
struct Shared {
    access: Access,
    routes: Routes,
    connections: Slots,
}

impl Server {
    /// Begins to listen; nobody is answered before [`serve`](Self::serve).
    pub fn listen(place: &Place, options: Options) -> Result<Self, Error> {
        let (listener, place) = Listener::open(place).map_err(|source| Error::Listen {
            place: place.clone(),
            source,
        })?;
        let access = Access::new(options.token.clone(), &place, &options.hosts);
        let live = Live::new(options.directory.clone());
        Ok(Self {
            listener,
            place,
            shared: Arc::new(Shared {
                access,
                routes: Routes::new(options, live),
                connections: Slots::new(CONNECTIONS_MAX),
            }),
        })
    }

    /// Where it listens.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Answers until it is woken.
    pub fn serve(&self, stop: &Waker) -> Result<(), Error> {
        loop {
            sockets::wait(&[self.listener.waited()], stop, None)?;
            if stop.is_woken() {
                return Ok(());
            }
            match self.listener.accept() {
                Ok(stream) => self.take(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // It went away meanwhile, or there is no descriptor left.
                Err(error) => {
                    tracing::debug!(%error, "no connection was taken");
                    stop.wait(REFUSED_PAUSE);
                }
            }
        }
    }

    fn take(&self, mut stream: Stream) {
        let Some(slot) = self.shared.connections.take() else {
            let answer = Answer::text(503, "too many connections; try again in a moment");
            // It fits into what the system holds for a new connection.
            let _gone = answer.write(&mut stream);
            return;
        };
        let shared = Arc::clone(&self.shared);
        let spawned = thread::named("browser").spawn(move || {
            shared.answer(&mut stream);
            stream.finish();
            drop(slot);
        });
        if let Err(error) = spawned {
            tracing::debug!(%error, "no thread for a connection");
        }
    }
}

impl Shared {
    fn answer(&self, stream: &mut Stream) {
        let answer = match Request::read(stream) {
            Ok(request) => match self.access.judge(&request) {
                Verdict::Enter => match self.routes.answer(&request, stream) {
                    Some(answer) => answer,
                    // It was a stream, and is over.
                    None => return,
                },
                Verdict::Answer(answer) => answer,
            },
            Err(Refused::Nothing) => return,
            Err(Refused::Slow) => Answer::text(408, "the request took too long"),
            Err(Refused::Status(status, why)) => Answer::text(status, why),
        };
        if let Err(error) = answer.write(stream) {
            tracing::debug!(%error, "an answer was not taken");
        }
    }
}

/// So many at once.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    taken: Arc<AtomicUsize>,
    count_max: usize,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    taken: Arc<AtomicUsize>,
}

impl Slots {
    pub(super) fn new(count_max: usize) -> Self {
        Self {
            taken: Arc::default(),
            count_max,
        }
    }

    /// One, where one is free.
    pub(super) fn take(&self) -> Option<Slot> {
        let slot = Slot {
            taken: Arc::clone(&self.taken),
        };
        let before = self.taken.fetch_add(1, Ordering::SeqCst);
        (before < self.count_max).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::SeqCst);
    }
}
