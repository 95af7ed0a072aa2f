//! Files with secrets, and what a receiver is known by: read anew for each connection, so that a new
//! one is seen, and refused where others could read or exchange them. What is in them is never told.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider};

/// The most bytes of such a file: a system's list of authorities has a quarter of it.
const SIZE_MAX: u64 = 1 << 20;

/// The most bytes of a token.
const TOKEN_SIZE_MAX: usize = 16 << 10;

/// Where systems keep the authorities they trust, in one file.
const TRUSTED: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why a file is of no use. It says nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{what} {}: {source}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{what} {}: {why}", path.display())]
    Wrong {
        what: &'static str,
        path: PathBuf,
        why: &'static str,
    },
    #[error("there is no list of trusted authorities here; name one as forward.ca_file")]
    NoAuthorities,
}

/// A file, and what it is called in the configuration.
#[derive(Clone, Copy, Debug)]
struct Named<'p> {
    what: &'static str,
    path: &'p Path,
}

impl Named<'_> {
    fn wrong(self, why: &'static str) -> Error {
        Error::Wrong {
            what: self.what,
            path: self.path.to_path_buf(),
            why,
        }
    }

    fn read(self, is_secret: bool) -> Result<Vec<u8>, Error> {
        let io_error = |source| Error::Io {
            what: self.what,
            path: self.path.to_path_buf(),
            source,
        };
        // Opening a pipe would wait for who writes it.
        let metadata = std::fs::metadata(self.path).map_err(io_error)?;
        if !metadata.is_file() {
            return Err(self.wrong("it is not a regular file"));
        }
        let file = File::open(self.path).map_err(io_error)?;
        if is_secret {
            self.check(&file.metadata().map_err(io_error)?)?;
        }
        let mut bytes = Vec::new();
        file.take(SIZE_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(io_error)?;
        if u64::try_from(bytes.len()).is_ok_and(|size| size > SIZE_MAX) {
            return Err(self.wrong("it is larger than 1 MiB"));
        }
        Ok(bytes)
    }

    /// A secret that everybody may read is none, and one that another may exchange is not ours.
    #[cfg(unix)]
    fn check(self, metadata: &std::fs::Metadata) -> Result<(), Error> {
        use std::os::unix::fs::MetadataExt as _;
        if metadata.mode() & 0o007 != 0 {
            return Err(self.wrong("everybody may read or change it; `chmod 600` it"));
        }
        if metadata.mode() & 0o020 != 0 {
            return Err(self.wrong("its group may change it; `chmod 640` it"));
        }
        let owner = metadata.uid();
        if owner != 0 && owner != nix::unistd::geteuid().as_raw() {
            return Err(self.wrong("it belongs to another user; `chown` it"));
        }
        Ok(())
    }

    /// On Windows the directory it is in says who may.
    #[cfg(not(unix))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "its twin for another system looks and can fail"
    )]
    const fn check(self, _metadata: &std::fs::Metadata) -> Result<(), Error> {
        Ok(())
    }
}

/// The value of the header that says who we are: `Bearer` and the token, or the file's own words
/// where it names another scheme.
pub(super) fn authorization(path: &Path) -> Result<String, Error> {
    let file = Named {
        what: "forward.token_file",
        path,
    };
    let bytes = file.read(true)?;
    let text = String::from_utf8(bytes).map_err(|_bytes| file.wrong("it is not text"))?;
    let token = text.trim();
    if token.is_empty() || token.len() > TOKEN_SIZE_MAX {
        return Err(file.wrong("it is empty, or longer than a token"));
    }
    if !token.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Err(file.wrong("it is not one line of printable ASCII"));
    }
    Ok(if token.contains(' ') {
        token.to_owned()
    } else {
        format!("Bearer {token}")
    })
}

/// Whom to trust, and who we are, for one connection.
pub(super) fn tls(
    ca_file: Option<&Path>,
    identity: Option<(&Path, &Path)>,
) -> Result<TlsConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = identity.map(|(certificate, key)| client(certificate, key, &provider));
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(authorities(ca_file)?)
        .client_cert(client.transpose()?)
        .build())
}

fn authorities(ca_file: Option<&Path>) -> Result<RootCerts, Error> {
    let path = match ca_file {
        Some(path) => path,
        None => TRUSTED
            .iter()
            .map(Path::new)
            .find(|path| path.is_file())
            .ok_or(Error::NoAuthorities)?,
    };
    let file = Named {
        what: "forward.ca_file",
        path,
    };
    let authorities = certificates(file)?;
    let mut store = rustls::RootCertStore::empty();
    let (usable_count, _) = store.add_parsable_certificates(authorities.iter().cloned());
    if usable_count == 0 {
        return Err(file.wrong("no certificate in it can be used"));
    }
    let authorities = authorities.iter();
    Ok(authorities
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .into())
}

fn certificates(file: Named<'_>) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bytes = file.read(false)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.map_err(|_damaged| file.wrong("it is no PEM file"))?;
    if certificates.is_empty() {
        return Err(file.wrong("there is no certificate in it; it must be a PEM file"));
    }
    Ok(certificates)
}

/// Our certificate and its key. A pair that does not fit would end the program where it is used, so it
/// is tried here.
fn client(
    certificate: &Path,
    key: &Path,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<ClientCert, Error> {
    let file = Named {
        what: "forward.cert_file",
        path: certificate,
    };
    let chain = certificates(file)?;
    let key_file = Named {
        what: "forward.key_file",
        path: key,
    };
    let pem = key_file.read(true)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_damaged| {
        key_file.wrong("there is no private key in it; it must be a PEM file")
    })?;
    rustls::ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            let builder = builder.with_root_certificates(rustls::RootCertStore::empty());
            builder.with_client_auth_cert(chain.clone(), key)
        })
        .map_err(|_unfit| {
            key_file.wrong("it is not the key of forward.cert_file, or of no known kind")
        })?;
    let key = PrivateKey::from_pem(&pem).map_err(|_damaged| {
        key_file.wrong("there is no private key in it; it must be a PEM file")
    })?;
    let chain: Vec<_> = chain
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    Ok(ClientCert::new_with_certs(&chain, key))
}
