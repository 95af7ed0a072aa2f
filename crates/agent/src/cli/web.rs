//! `systrail web`: the store in a browser.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use systrail::quantity;

use super::Exit;
#[cfg(not(feature = "web"))]
use super::Failure;

/// Shows the store in a browser: the tree, a timeline, the story of a process, what was lost, and a box for
/// SQL; live, and for any time of it. It reads the store alone, works without a network, and prints the
/// address to open, with a token that lets one browser in. Ctrl-C ends it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  systrail web                                      the store of this machine
  systrail web --store /mnt/evidence                one of another machine
  systrail web --listen 127.0.0.1:0                 at any port that is free
  systrail web --socket /run/user/1000/trail        at a Unix socket of one's own

From another machine, through a tunnel: `ssh -L 8117:127.0.0.1:8117 HOST` there, `systrail web` here.")]
pub(super) struct Arguments {
    /// Show the store in this directory
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Listen at this address; port 0 takes one that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8117")]
    listen: SocketAddr,
    /// Listen at this Unix socket instead, which its owner alone can open
    #[cfg(unix)]
    #[arg(long, value_name = "PATH", conflicts_with = "listen")]
    socket: Option<PathBuf>,
    /// Answer under this name too: of a tunnel or a proxy, with its port where the address has one
    #[arg(long, value_name = "HOST[:PORT]")]
    allow_host: Vec<String>,
    /// Take the token from this file, which is made where it is not there, and print none
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Stop a query after this long
    #[arg(long, value_name = "TIME", value_parser = quantity::duration, default_value = "10s")]
    timeout: Duration,
}

#[cfg(feature = "web")]
pub(super) use self::serving::main;

#[cfg(feature = "web")]
mod serving {
    use std::fs::{self, OpenOptions};
    use std::io::{self, Read as _, Write as _};
    use std::path::Path;

    use systrail::store::{self, ReadError};
    use systrail::sys::wake::Waker;
    use systrail::web::{Options, Place, Server, Token};

    use super::super::console::{self, say};
    use super::super::trail::store_directory;
    use super::super::{Failure, stop};
    use super::{Arguments, Exit};

    /// Does `systrail web`.
    pub(crate) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
        let place = arguments.place()?;
        let directory = store_directory(arguments.store.as_deref())?;
        check_store(&directory)?;
        let token = match &arguments.token_file {
            Some(path) => kept_token(path)?,
            None if is_logged() => {
                return Err(Failure::usage(anyhow::anyhow!(
                    "the token would stand in the system's journal; name a file for it with --token-file"
                )));
            }
            None => Token::new()?,
        };
        let waker = Waker::new()?;
        let listening = stop::on_signals_saying(&waker, "aborted")?;
        let server = Server::listen(
            &place,
            Options {
                directory: directory.clone(),
                token: token.clone(),
                hosts: arguments.allow_host.clone(),
                query_time: arguments.timeout,
            },
        )?;
        say!("showing {}; Ctrl-C ends it", directory.display());
        arguments.print(server.place(), &token)?;
        server.serve(&waker)?;
        Ok(listening.exit_of(Exit::Done))
    }

    impl Arguments {
        fn place(&self) -> Result<Place, Failure> {
            #[cfg(unix)]
            if let Some(path) = &self.socket {
                return Ok(Place::Unix(path.clone()));
            }
            let is_own = self.listen.ip().is_loopback();
            if !is_own && self.allow_host.is_empty() {
                return Err(Failure::usage(anyhow::anyhow!(
                    "{} can be reached from other machines, and what is sent there is not encrypted; better \
                     is a tunnel (`ssh -L 8117:127.0.0.1:8117`), or a proxy with TLS. If it is meant, name \
                     the host that browsers ask for with --allow-host",
                    self.listen
                )));
            }
            if self.timeout.is_zero() {
                return Err(Failure::usage(anyhow::anyhow!(
                    "--timeout is longer than nothing"
                )));
            }
            Ok(Place::Tcp(self.listen))
        }

        /// Says where it is to be seen, and how one gets in.
        fn print(&self, place: &Place, token: &Token) -> io::Result<()> {
            let address = match place {
                Place::Tcp(address) => format!("http://{address}/"),
                #[cfg(unix)]
                Place::Unix(path) => {
                    say!("at the socket {}", path.display());
                    "http://localhost/".to_owned()
                }
            };
            match &self.token_file {
                Some(path) => {
                    say!(
                        "the token is in {}: open the address with ?token= and it",
                        path.display()
                    );
                    console::result(&format!("{address}\n"))
                }
                None => console::result(&format!("{address}?token={}\n", token.text())),
            }
        }
    }

    /// Fails where there is no store, or none that may be read.
    fn check_store(directory: &Path) -> Result<(), Failure> {
        match store::segments(directory) {
            Ok(_) => Ok(()),
            Err(ReadError::NotThere { .. }) => Err(anyhow::anyhow!(
                "no store at {}, so there is nothing to show; record one: `systrail service install` for \
                 good, or `sudo systrail run --store DIR` and `systrail web --store DIR` beside it",
                directory.display()
            )
            .into()),
            Err(error) => Err(error.into()),
        }
    }

    /// The token in a file, which is made where it is not there. Who else could read it could use it.
    fn kept_token(path: &Path) -> Result<Token, Failure> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let failed = |error: io::Error| anyhow::anyhow!("--token-file {}: {error}", path.display());
        match options.open(path) {
            Ok(mut file) => {
                let token = Token::new()?;
                writeln!(file, "{}", token.text()).map_err(failed)?;
                Ok(token)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read_token(path),
            Err(error) => Err(failed(error).into()),
        }
    }

    fn read_token(path: &Path) -> Result<Token, Failure> {
        const SIZE_MAX: u64 = 1_024;
        let refused =
            |why: &str| Failure::usage(anyhow::anyhow!("--token-file {}: {why}", path.display()));
        let failed = |error: io::Error| anyhow::anyhow!("--token-file {}: {error}", path.display());
        // To open a pipe would be to wait for who writes to it.
        let data = fs::metadata(path).map_err(failed)?;
        if !data.is_file() {
            return Err(refused("it is no regular file"));
        }
        #[cfg(unix)]
        if std::os::unix::fs::MetadataExt::mode(&data) & 0o077 != 0 {
            return Err(refused(
                "others can read it; `chmod 600` it, or remove it to have a new one",
            ));
        }
        let mut text = String::new();
        let file = fs::File::open(path).map_err(failed)?;
        file.take(SIZE_MAX)
            .read_to_string(&mut text)
            .map_err(failed)?;
        Token::from_text(text.trim()).ok_or_else(|| {
            refused("it has no token of `systrail web`, 64 hex digits; remove it to have a new one")
        })
    }

    /// Whether what is printed goes to the system's journal, which others read and which stays.
    fn is_logged() -> bool {
        #[cfg(unix)]
        {
            // Its device and inode, as systemd.exec(5) has it.
            let told = std::env::var("JOURNAL_STREAM").ok();
            let told = told.as_deref().and_then(|told| told.split_once(':'));
            let is_same = |stream: nix::Result<nix::sys::stat::FileStat>| {
                stream.is_ok_and(|own| {
                    told.is_some_and(|(device, inode)| {
                        own.st_dev.to_string() == device && own.st_ino.to_string() == inode
                    })
                })
            };
            is_same(nix::sys::stat::fstat(io::stdout()))
        }
        #[cfg(not(unix))]
        false
    }
}

/// Says how to get a program that has it.
#[cfg(not(feature = "web"))]
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    let Arguments {
        store: _,
        listen: _,
        allow_host: _,
        token_file: _,
        timeout: _,
        ..
    } = arguments;
    Err(Failure::not_built_in("its pages for a browser", "web"))
}
