//! Who is believed, and who is told what we have. `pki` has the certificates of an authority that exists for
//! these tests alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use systrail::forward::{Progress, Settings};

use super::receiver::{Receiver, Reply};
use super::spool::{self, RUN, Spool, forward_until, names};

fn pki(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/forward/pki")
        .join(name)
}

fn certificates(name: &str) -> Vec<CertificateDer<'static>> {
    let found = CertificateDer::pem_file_iter(pki(name)).unwrap();
    found.collect::<Result<_, _>>().unwrap()
}

/// A server with that certificate; one that wants to know who comes.
fn server(name: &str, knows: bool) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates("ca.pem"));
    let builder = if knows {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(pki(&format!("{name}.key"))).unwrap();
    let chain = certificates(&format!("{name}.pem"));
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

/// A copy of a file that only we may read.
fn secret(spool: &Spool, name: &str, text: &[u8]) -> PathBuf {
    let path = spool.directory.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn settings(spool: &Spool, receiver: &Receiver) -> Settings {
    let mut settings = spool.settings(&receiver.url());
    settings.target.ca_file = Some(pki("ca.pem"));
    settings
}

/// What went wrong at the first attempt.
fn error_of(settings: Settings) -> String {
    let (forwarder, told) = spool::start(settings);
    assert_eq!(told.recv().unwrap(), Progress::Failed);
    let error = forwarder.tally().error().unwrap();
    drop(forwarder);
    error
}

fn spool_of(count: u64) -> Spool {
    let mut spool = Spool::new();
    spool.write(RUN, 1..=count);
    spool
}

#[test]
fn a_private_authority_and_a_certificate_of_our_own_will_do() {
    let spool = spool_of(10);
    let receiver = Receiver::encrypted(|| server("server", true));
    let mut settings = settings(&spool, &receiver);
    settings.target.cert_file = Some(pki("client.pem"));
    let key = fs::read(pki("client.key")).unwrap();
    settings.target.key_file = Some(secret(&spool, "client.key", &key));
    assert_eq!(spool::forward(settings).forwarded, 10);
    receiver.ledger().check(&names(RUN, 1..=10));
}

#[test]
fn nothing_is_sent_to_who_is_not_whom_he_should_be() {
    let spool = spool_of(10);
    for (name, ca, knows, reason) in [
        ("expired", "ca.pem", false, "xpired"),
        ("elsewhere", "ca.pem", false, "not valid for name"),
        ("server", "other_ca.pem", false, "UnknownIssuer"),
        // He says so, or only goes away.
        ("server", "ca.pem", true, ""),
    ] {
        let receiver = Receiver::encrypted(move || server(name, knows));
        let mut settings = settings(&spool, &receiver);
        settings.target.ca_file = Some(pki(ca));
        let error = error_of(settings);
        assert!(error.contains(reason), "{name}: {error}");
        assert_eq!(receiver.ledger().requests.len(), 0, "{name}");
    }
}

/// Whoever renews a certificate restarts no recorder.
#[test]
fn a_new_certificate_and_a_new_authority_are_seen() {
    let spool = spool_of(10);
    let count = Arc::new(AtomicUsize::new(0));
    let receiver = Receiver::encrypted(move || {
        let name = match count.fetch_add(1, Ordering::SeqCst) {
            0 => "expired",
            _ => "server",
        };
        server(name, false)
    });
    let ca = spool.directory.path().join("ca.pem");
    fs::copy(pki("other_ca.pem"), &ca).unwrap();
    let mut settings = settings(&spool, &receiver);
    settings.target.ca_file = Some(ca.clone());
    let (_, progress) = forward_until(settings, |progress, _| {
        fs::copy(pki("ca.pem"), &ca).unwrap();
        progress == Progress::Done
    });
    assert_eq!(progress, Progress::Done);
    receiver.ledger().check(&names(RUN, 1..=10));
}

/// The library ends the program over a key that does not fit.
#[test]
fn files_that_are_of_no_use_are_told() {
    let spool = spool_of(10);
    let receiver = Receiver::encrypted(|| server("server", false));
    let key = |name: &str| fs::read(pki(name)).unwrap();
    let wrong_key = secret(&spool, "wrong.key", &key("server.key"));
    let readable = secret(&spool, "readable.key", &key("client.key"));
    fs::set_permissions(&readable, fs::Permissions::from_mode(0o644)).unwrap();
    let no_key = secret(&spool, "no.key", b"nothing");
    for (key_file, reason) in [
        (wrong_key, "not the key of forward.cert_file"),
        (readable, "everybody may read or change it"),
        (no_key, "no private key in it"),
        (spool.directory.path().join("gone"), "No such file"),
        (spool.directory.path().to_owned(), "not a regular file"),
    ] {
        let mut settings = settings(&spool, &receiver);
        settings.target.cert_file = Some(pki("client.pem"));
        settings.target.key_file = Some(key_file);
        let error = error_of(settings);
        assert!(error.contains(reason), "{error}");
    }
    let mut settings = settings(&spool, &receiver);
    settings.target.ca_file = Some(secret(&spool, "no.pem", b"nothing"));
    assert!(error_of(settings).contains("there is no certificate in it"));
}

#[test]
fn a_token_is_read_for_each_request_and_told_to_nobody() {
    let spool = spool_of(10);
    let token = secret(&spool, "token", b"old-hunter2\n");
    let receiver = Receiver::start(|request, _| {
        let told = request.headers.get("authorization").cloned();
        match told.as_deref() {
            Some("Bearer new-hunter2") => Reply::Take,
            other => Reply::status(401, "", &format!("who is {other:?}?")),
        }
    });
    let mut settings = spool.settings(&receiver.url());
    settings.target.token_file = Some(token.clone());
    let (counts, _) = forward_until(settings.clone(), |progress, tally| {
        if let Some(error) = tally.error() {
            assert!(error.contains("does not let us in"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
            fs::write(&token, "new-hunter2").unwrap();
        }
        progress == Progress::Done
    });
    assert_eq!(counts.forwarded, 10);
    let state = fs::read_to_string(spool.cursor()).unwrap();
    assert!(!state.contains("hunter2"), "{state}");

    fs::set_permissions(&token, fs::Permissions::from_mode(0o604)).unwrap();
    let mut more = spool;
    more.write(RUN, 11..=12);
    let error = error_of(settings);
    assert!(error.contains("everybody may read or change it"), "{error}");
}
