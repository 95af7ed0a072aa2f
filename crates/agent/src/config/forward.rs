//! Where the trail is forwarded to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

/// Where the trail is forwarded to, and how much of it waits for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The receiver.
    pub url: Url,
    /// The file with the token that says who we are.
    pub token_file: Option<PathBuf>,
    /// The authorities that are trusted; the system's where there is none.
    pub ca_file: Option<PathBuf>,
    /// Our certificate.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// Keep segments that are not forwarded yet up to this many bytes.
    pub keep_size: u64,
    /// How long nothing is recorded until it is said that the recording goes on.
    pub heartbeat: Duration,
}

/// An address of a receiver that may be sent to.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    whole: String,
    shown_size: usize,
}

/// The most bytes of one.
const URL_SIZE_MAX: usize = 2_048;

impl Url {
    /// Takes `https://` to anywhere and `http://` to this machine, without anything secret in it.
    ///
    /// # Errors
    /// What is wrong, and what to do about it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refuse = |reason: &str| Err(reason.to_owned());
        if text.len() > URL_SIZE_MAX {
            return Err(format!("at most {URL_SIZE_MAX} bytes are allowed"));
        }
        if !text.bytes().all(|byte| (0x21..0x7f).contains(&byte))
            || text.contains(['"', '<', '>', '#'])
        {
            return refuse("write spaces and other special characters as %20 and the like");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return refuse("it must begin with https://");
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return refuse(
                "a password does not belong here; put it into the file of forward.token_file",
            );
        }
        let Some(host) = host_of(authority) else {
            return refuse("it must name a host, with a port from 1 to 65535 if any");
        };
        match scheme {
            "https" => {}
            "http" if is_own(host) => {}
            "http" => {
                return refuse("without encryption only this machine is sent to; use https://");
            }
            _ => return refuse("it must begin with https://"),
        }
        let query = path.split_once('?').map_or("", |(_, query)| query);
        let is_secret = |pair: &str| {
            let name = pair
                .split('=')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase();
            ["password", "token", "secret", "api_key", "apikey"].contains(&&*name)
        };
        if query.split('&').any(is_secret) {
            return refuse(
                "a secret does not belong here; put it into the file of forward.token_file",
            );
        }
        Ok(Self {
            whole: text.to_owned(),
            shown_size: text.len() - query.len() - usize::from(!query.is_empty()),
        })
    }

    /// The whole address.
    pub fn whole(&self) -> &str {
        &self.whole
    }

    /// Whether what is sent is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.whole.starts_with("https:")
    }
}

/// Without what is asked of the receiver, in which there may be more than everybody should know.
impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.whole.get(..self.shown_size).unwrap_or_default())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The host of `host:port`, without brackets.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, port)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_port = match port.strip_prefix(':') {
        Some(port) => port.parse::<u16>().is_ok_and(|port| port > 0),
        None => port.is_empty(),
    };
    (is_port && !host.is_empty()).then_some(host)
}

/// Whether that is this machine, whoever is asked.
fn is_own(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_loopback(),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.to_ipv4_mapped() == Some(Ipv4Addr::LOCALHOST)
        }
        Err(_name) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_sent_to_in_the_clear() {
        let taken = [
            "https://collector.example/systrail",
            "https://[2001:db8::1]:8443/",
            "https://clickhouse.example:8443/?query=INSERT%20INTO%20events%20FORMAT%20JSONEachRow",
            "http://127.0.0.1:8123/?query=x",
            "http://localhost:9200/x",
            "http://[::1]:1/",
        ];
        for url in taken {
            assert_eq!(Url::parse(url).unwrap().whole(), url);
        }
        let refused = [
            "",
            "collector.example",
            "https://",
            "https:///path",
            "https://host:0/",
            "https://host:99999/",
            "http://collector.example/",
            "http://127.0.0.1.example/",
            "http://[2001:db8::1]/",
            "http://localhost.example/",
            "nats://host:4222",
            "ftp://host/",
            "https://[::1/",
            "https://host/a b",
            "https://host/\u{e9}",
            "https://host/\n",
            "https://host/#x",
        ];
        for url in refused {
            assert!(Url::parse(url).is_err(), "{url:?}");
        }
        assert!(Url::parse(&format!("https://host/{}", "x".repeat(URL_SIZE_MAX))).is_err());
    }

    #[test]
    fn a_secret_is_neither_taken_nor_shown() {
        for url in [
            "https://name:pass@host/",
            "https://host/?user=x&password=y",
            "https://host/?Token=y",
        ] {
            let error = Url::parse(url).unwrap_err();
            assert!(error.contains("forward.token_file"), "{error}");
        }
        let url = Url::parse("https://host:8443/a?query=INSERT&key=1").unwrap();
        assert_eq!(url.to_string(), "https://host:8443/a");
        assert_eq!(format!("{url:?}"), "https://host:8443/a");
        assert_eq!(
            Url::parse("https://host").unwrap().to_string(),
            "https://host"
        );
    }
}
