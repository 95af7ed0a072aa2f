//! Where browsers connect, and their connections: every wait on one has an end.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
#[cfg(unix)]
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::sys::sockets::{Readiness, Waited};

/// Where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An address and a port; port 0 is any that is free.
    Tcp(SocketAddr),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            #[cfg(unix)]
            Self::Unix(path) => path.display().fmt(formatter),
        }
    }
}

/// Takes connections without waiting for them.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(OwnSocket),
}

/// A Unix socket that goes with whoever made it.
#[cfg(unix)]
#[derive(Debug)]
pub(super) struct OwnSocket {
    listener: UnixListener,
    path: PathBuf,
}

#[cfg(unix)]
impl Drop for OwnSocket {
    fn drop(&mut self) {
        // Whoever removed it before has done the same.
        let _gone = std::fs::remove_file(&self.path);
    }
}

impl Listener {
    /// Listens at `place`; says where that is.
    pub(super) fn open(place: &Place) -> io::Result<(Self, Place)> {
        match place {
            Place::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let place = Place::Tcp(listener.local_addr()?);
                Ok((Self::Tcp(listener), place))
            }
            #[cfg(unix)]
            Place::Unix(path) => {
                let listener = open_unix(path)?;
                listener.set_nonblocking(true)?;
                let path = path.clone();
                let place = Place::Unix(path.clone());
                Ok((Self::Unix(OwnSocket { listener, path }), place))
            }
        }
    }

    pub(super) fn waited(&self) -> Waited<'_> {
        match self {
            Self::Tcp(listener) => Waited::new(listener, Readiness::Readable),
            #[cfg(unix)]
            Self::Unix(own) => Waited::new(&own.listener, Readiness::Readable),
        }
    }

    /// The next connection, where there is one.
    pub(super) fn accept(&self) -> io::Result<Stream> {
        let socket = match self {
            Self::Tcp(listener) => Socket::Tcp(listener.accept()?.0),
            #[cfg(unix)]
            Self::Unix(own) => Socket::Unix(own.listener.accept()?.0),
        };
        match &socket {
            Socket::Tcp(stream) => {
                stream.set_nonblocking(false)?;
                stream.set_nodelay(true)?;
            }
            #[cfg(unix)]
            Socket::Unix(stream) => stream.set_nonblocking(false)?,
        }
        Ok(Stream { socket })
    }
}

/// A socket that only its owner can open. One that nobody listens at any more is replaced.
#[cfg(unix)]
fn open_unix(path: &std::path::Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::FileTypeExt as _;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    if is_socket {
        match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
            }
            _ => return Err(io::ErrorKind::AddrInUse.into()),
        }
    }
    // From its first moment on.
    let others = nix::sys::stat::Mode::from_bits_truncate(0o177);
    let before = nix::sys::stat::umask(others);
    let listener = UnixListener::bind(path);
    nix::sys::stat::umask(before);
    listener
}

/// A connection.
#[derive(Debug)]
pub(super) struct Stream {
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Stream {
    /// What is there, at most as much as fits; nothing at the end. Waits no longer than to `deadline`.
    pub(super) fn read_by(&mut self, bytes: &mut [u8], deadline: Instant) -> io::Result<usize> {
        loop {
            let time = Some(left(deadline)?);
            let read = match &mut self.socket {
                Socket::Tcp(stream) => {
                    stream.set_read_timeout(time)?;
                    stream.read(bytes)
                }
                #[cfg(unix)]
                Socket::Unix(stream) => {
                    stream.set_read_timeout(time)?;
                    stream.read(bytes)
                }
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }

    /// Writes all of it by `deadline`, or fails. Who reads slowly is not waited for longer.
    pub(super) fn write_by(&mut self, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            let time = Some(left(deadline)?);
            let written = match &mut self.socket {
                Socket::Tcp(stream) => {
                    stream.set_write_timeout(time)?;
                    stream.write(bytes)
                }
                #[cfg(unix)]
                Socket::Unix(stream) => {
                    stream.set_write_timeout(time)?;
                    stream.write(bytes)
                }
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says that nothing more comes, and takes what the other side still sends for a moment: a connection
    /// that is closed with something unread is reset, and the answer with it.
    pub(super) fn finish(&mut self) {
        const MOMENT: Duration = Duration::from_millis(500);
        const SIZE_MAX: usize = 4 << 20;
        let shutdown = match &self.socket {
            Socket::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.shutdown(std::net::Shutdown::Write),
        };
        if shutdown.is_err() {
            return;
        }
        let deadline = Instant::now() + MOMENT;
        let (mut bytes, mut size) = ([0; 4_096], 0);
        while let Ok(count) = self.read_by(&mut bytes, deadline) {
            size += count;
            if count == 0 || size > SIZE_MAX {
                return;
            }
        }
    }

    /// The same connection, to see whether its other side has gone.
    pub(super) fn other(&self) -> io::Result<Self> {
        let socket = match &self.socket {
            Socket::Tcp(stream) => Socket::Tcp(stream.try_clone()?),
            #[cfg(unix)]
            Socket::Unix(stream) => Socket::Unix(stream.try_clone()?),
        };
        Ok(Self { socket })
    }

    /// Whether the other side has gone. After its request it has nothing to say, so what it still says is
    /// not looked at.
    pub(super) fn is_gone(&mut self) -> bool {
        const MOMENT: Duration = Duration::from_millis(1);
        let read = self.read_by(&mut [0; 256], Instant::now() + MOMENT);
        match read {
            Ok(count) => count == 0,
            Err(error) => !matches!(
                error.kind(),
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
            ),
        }
    }
}

/// The time to a moment; an error once that has come.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}
