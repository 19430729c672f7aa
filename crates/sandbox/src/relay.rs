//! Moves bytes between two sockets until both directions have ended. It must never look at them, change them
//! or hold more of them than one buffer.
//!
//! Small conversations are copied through one buffer. A direction that has moved [`COPIED`] bytes goes
//! on through a pipe (splice(2)), where the kernel passes pages on instead of copying them. A slow
//! reader slows its writer down, and both directions end on their own (half-close).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, SemaphorePermit};

const BUFFER: usize = 64 * 1024;
/// Before this a pipe is not worth its two descriptors.
const COPIED: u64 = 512 * 1024;
/// Wished for; the kernel gives less to a user with very many pipes.
const PIPE: usize = 512 * 1024;

/// One end of a relay.
#[derive(Debug)]
pub enum End {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsRawFd for End {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

impl End {
    /// Waits until `work` does not answer "would block".
    async fn when<R>(&self, interest: Interest, work: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        match self {
            Self::Tcp(stream) => stream.async_io(interest, work).await,
            Self::Unix(stream) => stream.async_io(interest, work).await,
        }
    }

    async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.when(Interest::READABLE, || {
            // SAFETY: the buffer is live for its length.
            let length = unsafe { libc::recv(self.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            moved(length)
        })
        .await
    }

    async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let length = self.when(Interest::WRITABLE, || {
                // SAFETY: the slice is live for its length.
                let length = unsafe {
                    libc::send(self.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL)
                };
                moved(length)
            });
            bytes = bytes.get(length.await?..).unwrap_or_default();
        }
        Ok(())
    }

    fn end_writing(&self) -> io::Result<()> {
        // SAFETY: no memory is involved.
        match unsafe { libc::shutdown(self.as_raw_fd(), libc::SHUT_WR) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn moved(length: isize) -> io::Result<usize> {
    usize::try_from(length).map_err(|_| io::Error::last_os_error())
}

/// Relays until both directions have ended, or one has failed.
pub async fn both_ways(
    inside: TcpStream,
    outside: &End,
    sent: &AtomicU64,
    received: &AtomicU64,
) -> io::Result<()> {
    let _ = inside.set_nodelay(true);
    let inside = End::Tcp(inside);
    tokio::try_join!(one_way(&inside, outside, sent), one_way(outside, &inside, received)).map(drop)
}

async fn one_way(from: &End, to: &End, count: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let mut copied = 0;
        while copied < COPIED {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                return to.end_writing();
            }
            to.write_all(buffer.get(..length).unwrap_or_default()).await?;
            count.fetch_add(length as u64, Ordering::Relaxed);
            copied += length as u64;
        }
        // Without a pipe, e.g. because all are in use, it goes on copying and asks again later.
        if let Ok(pipe) = Pipe::new() {
            drop(buffer);
            return pipe.carry(from, to, count).await;
        }
    }
}

/// Pipes of the whole process: together no more than the kernel gives an ordinary user at full size.
static PIPES: Semaphore = Semaphore::const_new(64);

struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    _permit: SemaphorePermit<'static>,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let permit = PIPES.try_acquire().map_err(|_| io::ErrorKind::QuotaExceeded)?;
        let mut pair = [0; 2];
        // SAFETY: `pair` has room for two descriptors, which are ours alone on success.
        let pipe = unsafe {
            if libc::pipe2(pair.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) < 0 {
                return Err(io::Error::last_os_error());
            }
            Self {
                read: OwnedFd::from_raw_fd(pair[0]),
                write: OwnedFd::from_raw_fd(pair[1]),
                _permit: permit,
            }
        };
        // SAFETY: no memory is involved.
        unsafe { libc::fcntl(pipe.write.as_raw_fd(), libc::F_SETPIPE_SZ, PIPE as libc::c_int) };
        Ok(pipe)
    }

    /// The pipe is emptied before it is filled again, so "would block" is always about the socket.
    async fn carry(&self, from: &End, to: &End, count: &AtomicU64) -> io::Result<()> {
        loop {
            let filling = || splice(from.as_raw_fd(), self.write.as_raw_fd(), PIPE);
            let mut left = from.when(Interest::READABLE, filling).await?;
            if left == 0 {
                return to.end_writing();
            }
            while left > 0 {
                let emptying = || splice(self.read.as_raw_fd(), to.as_raw_fd(), left);
                let length = to.when(Interest::WRITABLE, emptying).await?;
                count.fetch_add(length as u64, Ordering::Relaxed);
                left = left.saturating_sub(length);
            }
        }
    }
}

fn splice(from: RawFd, to: RawFd, length: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    let none = std::ptr::null_mut();
    // SAFETY: both are open; neither is a file with an offset.
    moved(unsafe { libc::splice(from, none, to, none, length, flags) })
}
