//! Who is let in: whoever has shown the token, and comes under a name that is ours.
//!
//! On loopback too: every user of the machine reaches the port, and so does every page in the browser of who
//! looks. What each of them would try stands at the check that ends it.

use std::collections::VecDeque;
use std::fmt;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::answer::Answer;
use super::request::{Method, Request};
use super::stream::Place;

/// Bytes of a secret.
const SECRET_SIZE: usize = 32;

/// Browsers that are let in at once; the one that came first shows the token anew.
const SESSIONS_MAX: usize = 64;

/// What opens the store. It never stands in what is logged.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A new one, that nobody can guess.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; SECRET_SIZE];
        getrandom::fill(&mut bytes)?;
        let mut text = String::with_capacity(2 * SECRET_SIZE);
        for byte in bytes {
            // Writing to a string does not fail.
            let _written = write!(text, "{byte:02x}");
        }
        Ok(Self(text))
    }

    /// The one that was made before; nothing where that is not one of ours.
    pub fn from_text(text: &str) -> Option<Self> {
        let is_token =
            text.len() == 2 * SECRET_SIZE && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_token.then(|| Self(text.to_owned()))
    }

    /// Its text, for who may know it.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether `text` is the same, in a time that says nothing of how much of it is.
    fn is(&self, text: &str) -> bool {
        Sha256::digest(&self.0) == Sha256::digest(text)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token")
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Whoever asks is let in.
    Enter,
    /// What is answered instead.
    Answer(Answer),
}

/// The door.
#[derive(Debug)]
pub(super) struct Access {
    token: Token,
    hosts: Vec<String>,
    cookie: String,
    sessions: Mutex<VecDeque<Token>>,
}

impl Access {
    pub(super) fn new(token: Token, place: &Place, further: &[String]) -> Self {
        let (mut hosts, cookie) = match place {
            Place::Tcp(address) => {
                let port = address.port();
                let names = ["127.0.0.1", "localhost", "[::1]"];
                let mut hosts: Vec<String> =
                    names.iter().map(|name| format!("{name}:{port}")).collect();
                if !address.ip().is_unspecified() {
                    hosts.push(address.to_string());
                }
                // Ports have cookies in common, and two of us may be open.
                (hosts, format!("systrail-{port}"))
            }
            #[cfg(unix)]
            Place::Unix(_) => (vec!["localhost".to_owned()], "systrail-socket".to_owned()),
        };
        hosts.extend(further.iter().map(|host| host.to_ascii_lowercase()));
        // Which is the port that is meant where none is named.
        let short: Vec<String> = hosts
            .iter()
            .filter_map(|host| host.strip_suffix(":80").map(str::to_owned))
            .collect();
        hosts.extend(short);
        Self {
            token,
            hosts,
            cookie,
            sessions: Mutex::default(),
        }
    }

    /// Whether `request` is answered.
    pub(super) fn judge(&self, request: &Request) -> Verdict {
        match self.refusal(request) {
            Some(answer) => Verdict::Answer(answer),
            None => Verdict::Enter,
        }
    }

    fn refusal(&self, request: &Request) -> Option<Answer> {
        // A page whose name leads here all of a sudden (DNS rebinding) is of one origin with us, and its
        // browser says so in Origin; but not under which name it believes to be here.
        let Some(host) = request.header("host").filter(|host| self.is_ours(host)) else {
            let why = "this name is not served: open the address that `systrail web` has printed, or name \
                       the one you use with --allow-host";
            return Some(Answer::text(421, why));
        };
        if !comes_from_us(request, host) {
            return Some(Answer::text(
                403,
                "another page has asked for this, and is not answered",
            ));
        }
        if request.path == "/"
            && let Some(token) = request.parameter("token")
        {
            return Some(self.exchange(&token));
        }
        let mut cookies = request.cookies(&self.cookie);
        let is_known = cookies.any(|cookie| {
            let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions
                .iter()
                .fold(false, |found, session| session.is(cookie) | found)
        });
        if is_known {
            return None;
        }
        if request.path == "/" {
            let page = include_str!("page/closed.html");
            return Some(Answer::page(401, page));
        }
        Some(Answer::error(
            401,
            "open the address that `systrail web` has printed first",
        ))
    }

    fn is_ours(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.hosts.contains(&host)
    }

    /// A cookie for the token, and the address without it: there it would stand in the history, be sent on
    /// and be read over a shoulder.
    fn exchange(&self, token: &str) -> Answer {
        if !self.token.is(token) {
            let why = "this is not the token of the `systrail web` that runs now: each has its own, and \
                       prints it when it begins";
            return Answer::text(403, why);
        }
        let session = match Token::new() {
            Ok(session) => session,
            Err(error) => return Answer::text(500, &format!("no session: {error}")),
        };
        let cookie = format!(
            "{}={}; Path=/; HttpOnly; SameSite=Strict",
            self.cookie,
            session.text()
        );
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.push_back(session);
        if sessions.len() > SESSIONS_MAX {
            sessions.pop_front();
        }
        let answer = Answer::text(303, "the token was taken");
        answer.with("Location", "./").with("Set-Cookie", &cookie)
    }
}

/// Whether a request comes from our page, or from a person who opens it. Pages of another port of this machine
/// are of one site with us: their browser sends our cookie along.
fn comes_from_us(request: &Request, host: &str) -> bool {
    let is_of_us = |origin: &str| {
        let name = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        name.is_some_and(|name| name.eq_ignore_ascii_case(host))
    };
    let is_change = request.method != Method::Get;
    // Of what is no GET every browser says where it comes from.
    let origin = match request.header("origin") {
        Some(origin) => is_of_us(origin),
        None => !is_change && !request.has_header("origin"),
    };
    // Of the rest most do. A person may open the page from anywhere, and sees its door at most.
    let site = match request.header("sec-fetch-site") {
        None | Some("same-origin" | "none") => true,
        Some(_) => request.path == "/" && !is_change,
    };
    origin && site
}
