//! One POST a batch. Everything a connection depends on is read when it is made: name, authorities,
//! certificate, key. A connection that was idle for long, or is old, is not used again: who sits
//! between drops it without a word. No answer leads anywhere else.

use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ureq::Agent;
use ureq::http::{HeaderMap, Response};

use super::answer::{self, Answer, Said};
use super::batch::Batch;
use super::secrets;
use crate::config;

/// How long a request may take, whatever part of it is slow.
const REQUEST_TIME: Duration = Duration::from_mins(1);

/// How long until a connection stands.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// A connection that was idle for longer is not used again: balancers drop one after 60 s.
const IDLE_MAX: Duration = Duration::from_secs(50);

/// A connection that is older is not used again, so that a name that moved is followed.
const AGE_MAX: Duration = Duration::from_mins(10);

/// The most of an answer that is read. An Elasticsearch tells some 150 bytes an event.
const ANSWER_SIZE_MAX: u64 = 2 << 20;

/// The most bytes of an answer's headers.
const HEADERS_SIZE_MAX: usize = 16 << 10;

/// Bytes of a connection's buffers, each.
const BUFFER_SIZE: usize = 16 << 10;

/// Sends batches to one address.
#[derive(Debug)]
pub(super) struct Sender {
    settings: config::Forward,
    connection: Option<Connection>,
    stop: Stop,
}

/// Breaks off a request, from any thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(Arc<Mutex<Stopped>>);

#[derive(Debug, Default)]
struct Stopped {
    agent: Option<Agent>,
    is_stopped: bool,
}

impl Stop {
    /// Breaks off the request that runs, and all after it.
    pub(super) fn stop(&self) {
        let mut stopped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.is_stopped = true;
        if let Some(agent) = stopped.agent.take() {
            agent.shutdown();
        }
    }

    /// Says which requests are broken off; `false` where it is too late for any.
    fn watch(&self, agent: &Agent) -> bool {
        let mut stopped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.agent = (!stopped.is_stopped).then(|| agent.clone());
        !stopped.is_stopped
    }
}

#[derive(Debug)]
struct Connection {
    agent: Agent,
    began: Instant,
    used: Instant,
}

impl Sender {
    pub(super) const fn new(settings: config::Forward, stop: Stop) -> Self {
        Self {
            settings,
            connection: None,
            stop,
        }
    }

    /// Sends a batch within `time` at most.
    pub(super) fn send(&mut self, batch: &Batch, time: Duration) -> Answer {
        let later = |why: String| Answer::Later { why, asked: None };
        let is_reused = self.is_open();
        let mut sent = self.post(batch, time);
        if is_reused && sent.as_ref().is_err_and(Failed::is_broken_off) {
            // The other end may have closed it just now; the key makes it harmless to send again.
            self.connection = None;
            sent = self.post(batch, time);
        }
        match sent {
            Ok(answer) => {
                if answer != Answer::Accepted {
                    self.connection = None;
                }
                answer
            }
            Err(failed) => {
                self.connection = None;
                later(failed.to_string())
            }
        }
    }

    /// Whether there is a connection to be used again.
    fn is_open(&mut self) -> bool {
        let is_good = |connection: &Connection| {
            connection.used.elapsed() < IDLE_MAX && connection.began.elapsed() < AGE_MAX
        };
        if !self.connection.as_ref().is_some_and(is_good) {
            self.connection = None;
        }
        self.connection.is_some()
    }

    fn post(&mut self, batch: &Batch, time: Duration) -> Result<Answer, Failed> {
        let token_file = self.settings.token_file.as_deref();
        let authorization = token_file.map(secrets::authorization).transpose()?;
        if self.connection.is_none() {
            self.connection = Some(self.connect()?);
        }
        let Some(connection) = &mut self.connection else {
            return Ok(Answer::Later {
                why: "not connected".to_owned(),
                asked: None,
            });
        };
        if !self.stop.watch(&connection.agent) {
            return Err(Failed::Stopped);
        }
        let mut request = connection
            .agent
            .post(self.settings.url.whole())
            .config()
            .timeout_global(Some(time.min(REQUEST_TIME)))
            .build()
            .content_type("application/x-ndjson")
            .header("Content-Encoding", "zstd")
            .header("Idempotency-Key", &batch.key);
        if let Some(authorization) = &authorization {
            request = request.header("Authorization", authorization);
        }
        let response = request.send(&batch.body[..]).map_err(Failed::Sending)?;
        let answer = read(response);
        connection.used = Instant::now();
        Ok(without(answer, authorization.as_deref()))
    }

    /// Makes what the next request connects with.
    fn connect(&self) -> Result<Connection, Failed> {
        let settings = &self.settings;
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A recorder has no user whose proxy it would be.
            .proxy(None)
            .timeout_resolve(Some(CONNECT_TIME))
            .timeout_connect(Some(CONNECT_TIME))
            .max_response_header_size(HEADERS_SIZE_MAX)
            .input_buffer_size(BUFFER_SIZE)
            .output_buffer_size(BUFFER_SIZE)
            .max_idle_connections(1)
            .max_idle_age(IDLE_MAX)
            .user_agent(concat!("systrail/", env!("CARGO_PKG_VERSION")));
        if settings.url.is_encrypted() {
            let identity = settings
                .cert_file
                .as_deref()
                .zip(settings.key_file.as_deref());
            config = config.tls_config(secrets::tls(settings.ca_file.as_deref(), identity)?);
        }
        let now = Instant::now();
        Ok(Connection {
            agent: config.build().new_agent(),
            began: now,
            used: now,
        })
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Secret(#[from] secrets::Error),
    #[error("{}", in_words(.0))]
    Sending(ureq::Error),
    #[error("it was stopped")]
    Stopped,
}

impl Failed {
    /// Whether the connection broke off, which one that was idle may do any time.
    const fn is_broken_off(&self) -> bool {
        matches!(self, Self::Sending(error) if !matches!(error, ureq::Error::Timeout(_)))
    }
}

/// What a request failed of, and what to do about the commonest.
fn in_words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "there is no such host".to_owned(),
        ureq::Error::Timeout(part) => format!("it takes too long ({part})"),
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Protocol(error) => format!("it does not speak HTTP: {error}"),
        other => other.to_string(),
    }
}

fn read(response: Response<ureq::Body>) -> Answer {
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    // One byte more tells that there is more.
    let read = body
        .as_reader()
        .take(ANSWER_SIZE_MAX + 1)
        .read_to_end(&mut bytes);
    let is_whole =
        read.is_ok_and(|size| u64::try_from(size).is_ok_and(|size| size <= ANSWER_SIZE_MAX));
    let header = |name: &str| header(&head.headers, name);
    let said = Said {
        status: head.status.as_u16(),
        exception_code: header("x-clickhouse-exception-code"),
        retry_after: header("retry-after"),
        content_type: header("content-type"),
        body: &bytes,
        is_whole,
    };
    answer::judge(&said, Timestamp::now())
}

/// A header that is not text is there all the same.
fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let value = headers.get(name)?;
    Some(value.to_str().unwrap_or("?"))
}

/// The same without the secret: some receivers tell what they were sent.
fn without(answer: Answer, secret: Option<&str>) -> Answer {
    let Some(secret) = secret else { return answer };
    let token = secret.rsplit(' ').next().unwrap_or(secret);
    let hide = |why: String| why.replace(secret, "[token]").replace(token, "[token]");
    match answer {
        Answer::Accepted => Answer::Accepted,
        Answer::Refused { why, is_too_large } => Answer::Refused {
            why: hide(why),
            is_too_large,
        },
        Answer::Later { why, asked } => Answer::Later {
            why: hide(why),
            asked,
        },
    }
}
