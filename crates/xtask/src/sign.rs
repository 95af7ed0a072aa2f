//! `cargo xtask sign`: signs the driver and the agent for Windows with osslsigncode, verifies the
//! signatures, and sees to it that the verification would notice a change.
//!
//! Without a key of one's own, one is made on the spot, for machines with test signing only. It is
//! never kept anywhere but in the target directory.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::command::program;
use crate::workspace;

/// Arguments of `cargo xtask sign`.
#[derive(Args, Default)]
pub(crate) struct Options {
    #[command(flatten)]
    key: KeyOptions,
    /// What to sign [default: `systrail.sys` and `systrail.exe` in the target directory]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// What to sign with.
#[derive(Args, Default)]
pub(crate) struct KeyOptions {
    /// Key and certificate as PKCS#12; without it, a throw-away one is made
    #[arg(long, value_name = "FILE")]
    pfx: Option<PathBuf>,
    /// The file that holds its password; without it, the password is empty
    #[arg(long, value_name = "FILE", requires = "pfx")]
    password_file: Option<PathBuf>,
    /// A time-stamp server, without which signatures end with the certificate
    #[arg(long, value_name = "URL", requires = "pfx")]
    timestamp: Option<String>,
}

impl Options {
    /// `file` alone, with a throw-away key.
    pub(crate) fn of(file: &Path) -> Self {
        Self {
            files: vec![file.to_owned()],
            ..Self::default()
        }
    }
}

/// A key to sign with, and the certificate to verify against.
pub(crate) struct Key {
    pfx: PathBuf,
    password_file: PathBuf,
    pub(crate) certificate: PathBuf,
    timestamp: Option<String>,
}

/// Signs into `signed` in the target directory, and verifies.
pub(crate) fn run(options: &Options) -> Result<()> {
    let key = Key::new(&options.key)?;
    for file in &files(options)? {
        signed(&key, file)?;
    }
    println!("certificate: {}", key.certificate.display());
    Ok(())
}

/// Signs `file` into `signed` in the target directory, verifies it, and gives the signed one.
pub(crate) fn signed(key: &Key, file: &Path) -> Result<PathBuf> {
    let out = workspace::target().join("signed");
    fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
    let file = absolute(file)?;
    ensure!(
        file.parent() != Some(absolute(&out)?.as_path()),
        "{} is signed already; sign what it was made from",
        file.display()
    );
    let signed = out.join(file.file_name().context("a file to sign has a name")?);
    key.sign(&file, &signed)?;
    println!("{}: signed and verified", signed.display());
    Ok(signed)
}

fn files(options: &Options) -> Result<Vec<PathBuf>> {
    if !options.files.is_empty() {
        return Ok(options.files.clone());
    }
    let made: Vec<PathBuf> = ["systrail.sys", "systrail.exe"]
        .iter()
        .map(|name| workspace::target().join(name))
        .filter(|path| path.exists())
        .collect();
    ensure!(
        !made.is_empty(),
        "there is nothing to sign; run `cargo xtask driver` or `cargo xtask dist` first"
    );
    Ok(made)
}

impl Key {
    /// The key the options name, or a throw-away one.
    pub(crate) fn new(options: &KeyOptions) -> Result<Self> {
        let place = place()?;
        let no_password = place.join("no-password");
        fs::write(&no_password, "\n")?;
        let password_file = options.password_file.as_ref().unwrap_or(&no_password);
        let (certificate, pfx) = match &options.pfx {
            Some(pfx) => (place.join("certificate.pem"), absolute(pfx)?),
            None => (place.join("test.pem"), place.join("test.pfx")),
        };
        let key = Self {
            pfx,
            password_file: absolute(password_file)?,
            certificate,
            timestamp: options.timestamp.clone(),
        };
        if options.pfx.is_some() {
            key.extract_certificate()?;
        } else {
            key.make(&place.join("test.key"))?;
        }
        Ok(key)
    }

    fn extract_certificate(&self) -> Result<()> {
        complete(
            program("openssl")
                .args(["pkcs12", "-nokeys", "-in"])
                .arg(&self.pfx)
                .arg("-passin")
                .arg(self.password())
                .arg("-out")
                .arg(&self.certificate),
        )
        .context("reading the certificate; is the password right?")
    }

    /// Makes a certificate that may sign code for a month, and nothing else.
    fn make(&self, secret: &Path) -> Result<()> {
        complete(
            program("openssl")
                .args([
                    "req", "-x509", "-newkey", "rsa:3072", "-nodes", "-days", "30",
                ])
                .args(["-sha256", "-subj", "/CN=SysTrail test signing"])
                .args(["-addext", "keyUsage=critical,digitalSignature"])
                .args(["-addext", "extendedKeyUsage=codeSigning"])
                .arg("-keyout")
                .arg(secret)
                .arg("-out")
                .arg(&self.certificate),
        )?;
        complete(
            program("openssl")
                .args(["pkcs12", "-export", "-inkey"])
                .arg(secret)
                .arg("-in")
                .arg(&self.certificate)
                .arg("-passout")
                .arg(self.password())
                .arg("-out")
                .arg(&self.pfx),
        )
    }

    /// How openssl is told the password, which stays off the command line.
    fn password(&self) -> OsString {
        let mut argument = OsString::from("file:");
        argument.push(&self.password_file);
        argument
    }

    /// Signs `file` into `signed`, and sees to it that the signature holds and means something.
    pub(crate) fn sign(&self, file: &Path, signed: &Path) -> Result<()> {
        remove(signed)?;
        let mut command = program("osslsigncode");
        command
            .args(["sign", "-h", "sha256", "-n", "SysTrail", "-pkcs12"])
            .arg(&self.pfx)
            .arg("-readpass")
            .arg(&self.password_file)
            // Page hashes, which Windows wants for FORCE_INTEGRITY.
            .arg("-ph");
        if let Some(url) = &self.timestamp {
            command.args(["-ts", url]);
        }
        complete(command.arg("-in").arg(file).arg("-out").arg(signed))
            .with_context(|| format!("signing {}", file.display()))?;
        self.verify(signed)?;
        self.refuse_what_was_changed(signed)
    }

    fn verify(&self, file: &Path) -> Result<()> {
        complete(&mut self.verification(file))
            .with_context(|| format!("the signature of {} does not hold", file.display()))
    }

    fn verification(&self, file: &Path) -> Command {
        let mut command = program("osslsigncode");
        command
            .args(["verify", "-CAfile"])
            .arg(&self.certificate)
            .arg("-in")
            .arg(file);
        command
    }

    /// A verification that lets a flipped byte pass has verified nothing.
    fn refuse_what_was_changed(&self, file: &Path) -> Result<()> {
        let mut bytes = fs::read(file)?;
        // In the middle of the image, which is neither header nor signature.
        let middle = bytes.len() / 2;
        let byte = bytes.get_mut(middle).context("an empty image")?;
        *byte ^= 1;
        let changed = place()?.join("changed");
        fs::write(&changed, bytes)?;
        let output = output(&mut self.verification(&changed))?;
        ensure!(
            !output.status.success(),
            "{} verifies with a flipped byte as well",
            file.display()
        );
        remove(&changed)
    }
}

/// Where keys are made and files are put together.
fn place() -> Result<PathBuf> {
    let place = workspace::target().join("sign");
    fs::create_dir_all(&place).with_context(|| format!("making {}", place.display()))?;
    Ok(place)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).with_context(|| format!("{} is not there", path.display()))
}

/// Runs a program whose output is of interest only when it fails.
fn complete(command: &mut Command) -> Result<()> {
    let output = output(command)?;
    if !output.status.success() {
        bail!(
            "{} ended with {}: {}{}",
            command.get_program().display(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

fn output(command: &mut Command) -> Result<Output> {
    command.output().with_context(|| {
        let name = command.get_program().display();
        format!("cannot start {name}; install it (`cargo xtask setup`)")
    })
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", file.display()))
        }
        _ => Ok(()),
    }
}
