//! The netlink socket of the kernel's connector, and receiving many messages with one call.

#![expect(
    unsafe_code,
    reason = "netlink's connector protocol and recvmmsg, which no library has"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce};
use nix::sys::socket::{MsgFlags, NetlinkAddr, bind, getsockopt, sendto, setsockopt};

/// Messages received with one call.
const MESSAGES_MAX: usize = 64;

/// Bytes of a message; the connector's are below 100. A longer one is cut, and then refused.
const MESSAGE_SIZE_MAX: usize = 256;

/// A socket of the connector. Never blocks.
#[derive(Debug)]
pub struct ConnectorSocket {
    fd: OwnedFd,
}

impl ConnectorSocket {
    /// A socket that listens to the connector group `group`.
    pub fn open(group: u32) -> io::Result<Self> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: the call takes three numbers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_CONNECTOR) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given this descriptor to us and to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, group))?;
        Ok(Self { fd })
    }

    /// Asks for a receive buffer of `size` bytes and returns what there is then. Beyond
    /// `net.core.rmem_max` it needs `CAP_NET_ADMIN`.
    pub fn set_receive_buffer(&self, size: usize) -> io::Result<usize> {
        if setsockopt(&self.fd, RcvBufForce, &size).is_err() {
            setsockopt(&self.fd, RcvBuf, &size)?;
        }
        Ok(getsockopt(&self.fd, RcvBuf)?)
    }

    /// Sends `message` to the kernel.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        let kernel = NetlinkAddr::new(0, 0);
        sendto(self.fd.as_raw_fd(), message, &kernel, MsgFlags::empty())?;
        Ok(())
    }
}

impl AsFd for ConnectorSocket {
    /// Readable while messages wait.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Room for the messages of one call.
#[derive(Debug)]
pub struct Inbox {
    buffers: Box<[[u8; MESSAGE_SIZE_MAX]; MESSAGES_MAX]>,
    sizes: [usize; MESSAGES_MAX],
    count: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            buffers: Box::new([[0; MESSAGE_SIZE_MAX]; MESSAGES_MAX]),
            sizes: [0; MESSAGES_MAX],
            count: 0,
        }
    }
}

impl Inbox {
    /// Receives what waits in `socket`, up to the inbox's room. Returns whether it may have more;
    /// `ENOBUFS` says that the socket's buffer has overflowed since the last call.
    pub fn receive(&mut self, socket: &ConnectorSocket) -> io::Result<bool> {
        self.count = 0;
        let mut senders = [const { empty_address() }; MESSAGES_MAX];
        let mut parts = self.buffers.each_mut().map(|buffer| libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: MESSAGE_SIZE_MAX,
        });
        let mut headers = [const { empty_header() }; MESSAGES_MAX];
        for ((header, sender), part) in headers.iter_mut().zip(&mut senders).zip(&mut parts) {
            header.msg_hdr.msg_name = (&raw mut *sender).cast();
            header.msg_hdr.msg_namelen = ADDRESS_SIZE;
            header.msg_hdr.msg_iov = &raw mut *part;
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: the headers, and the senders and buffers they point to, live until after the
        // call, each of the size its header says; no timeout is given.
        let count = unsafe {
            libc::recvmmsg(
                socket.fd.as_raw_fd(),
                headers.as_mut_ptr(),
                MESSAGES_MAX_C,
                0,
                std::ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            return match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                error => Err(error),
            };
        };
        self.count = count.min(MESSAGES_MAX);
        for ((size, header), sender) in self.sizes.iter_mut().zip(&headers).zip(&senders) {
            let is_cut = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            // Any process may send to this socket; only the kernel has port 0.
            let is_kernel = sender.nl_pid == 0;
            *size = match usize::try_from(header.msg_len) {
                Ok(size) if is_kernel && !is_cut => size.min(MESSAGE_SIZE_MAX),
                _ => 0,
            };
        }
        Ok(self.count == MESSAGES_MAX)
    }

    /// The messages received last, those that are whole and from the kernel.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        self.buffers
            .iter()
            .zip(self.sizes)
            .take(self.count)
            .filter(|(_, size)| *size > 0)
            .map(|(buffer, size)| &buffer[..size])
    }
}

const MESSAGES_MAX_C: libc::c_uint = 64;
const _: () = assert!(MESSAGES_MAX_C as usize == MESSAGES_MAX);

const ADDRESS_SIZE: libc::socklen_t = 12;
const _: () = assert!(ADDRESS_SIZE as usize == size_of::<libc::sockaddr_nl>());

const fn empty_address() -> libc::sockaddr_nl {
    // SAFETY: the structure is plain numbers, for which zero is a value.
    unsafe { std::mem::zeroed() }
}

const fn empty_header() -> libc::mmsghdr {
    // SAFETY: the structure is plain numbers and pointers, for which zero is a value.
    unsafe { std::mem::zeroed() }
}
