//! Where a server is, and how it is reached, as a URL.

use core::{fmt, str::FromStr};
use std::{path::PathBuf, string::String, vec::Vec};

use mqttstack_transport::{Endpoint, EndpointError};

/// The port of MQTT over TCP.
pub const DEFAULT_PORT: u16 = 1883;

/// The path of WebSockets that a URL without one means.
const DEFAULT_PATH: &str = "/mqtt";

/// Where a server is, how it is reached, and who connects.
///
/// | URL | reaches the server by | port |
/// | --- | --- | --- |
/// | `mqtt://host` | TCP | 1883 |
/// | `mqtts://host` | TLS (feature `tls`) | 8883 |
/// | `ws://host/path` | WebSocket (feature `websocket`), path `/mqtt` if there is none | 8083 |
/// | `wss://host/path` | WebSocket over TLS (both features) | 8084 |
/// | `unix:/path` | Unix domain socket (feature `unix`) | none |
///
/// A port may follow each host. `user:password@` may precede it, percent-encoded. The path of a
/// socket is taken as it is, up to the end of the URL.
///
/// It is shown without user and password.
///
/// ```
/// use mqttstack_client::ServerUrl;
///
/// let url: ServerUrl = "wss://ann:pw@broker.example/live".parse()?;
/// assert_eq!(url.to_string(), "wss://broker.example:8084/live");
/// # Ok::<(), mqttstack_client::UrlError>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct ServerUrl {
    pub(super) way: Way,
    pub(super) username: Option<String>,
    pub(super) password: Option<Vec<u8>>,
}

/// The way to a server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Way {
    Network {
        endpoint: Endpoint,
        has_tls: bool,
        /// The path, if it is a WebSocket.
        websocket: Option<String>,
    },
    Unix(PathBuf),
}

/// Why a text is not the URL of a server.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UrlError {
    /// It does not say how to connect, or in a way that is not supported.
    #[error(
        "`{scheme}` is not a supported scheme; write mqtt://host:port, or mqtts, ws, wss or unix:/path"
    )]
    SchemeNotSupported {
        /// What stands before `://`; empty if nothing does.
        scheme: String,
    },
    /// Something follows the port.
    #[error("`{rest}` follows the host and port; only ws:// and wss:// URLs have a path")]
    PathNotSupported {
        /// What follows.
        rest: String,
    },
    /// The URL of a socket has no path, or has a host before it.
    #[error("`{rest}` is not the path of a socket; write unix:/path")]
    PathInvalid {
        /// What stands in its place.
        rest: String,
    },
    /// A percent sign is not followed by two hexadecimal digits, or the user name is not UTF-8.
    #[error("the user name or password is not percent-encoded correctly")]
    EncodingInvalid,
    /// The host and port are not valid.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

impl ServerUrl {
    /// Returns host and port, unless it is a socket of this machine.
    #[must_use]
    pub const fn endpoint(&self) -> Option<&Endpoint> {
        match &self.way {
            Way::Network { endpoint, .. } => Some(endpoint),
            Way::Unix(_) => None,
        }
    }

    /// Says whether the way to the server is encrypted.
    #[must_use]
    pub const fn has_tls(&self) -> bool {
        matches!(self.way, Way::Network { has_tls: true, .. })
    }
}

impl FromStr for ServerUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        if let Some(path) = strip_scheme(url, "unix:") {
            return Ok(Self {
                way: Way::Unix(socket_path(path)?),
                username: None,
                password: None,
            });
        }
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (has_tls, is_websocket, port) = match &*scheme.to_ascii_lowercase() {
            "mqtt" => (false, false, DEFAULT_PORT),
            "mqtts" => (true, false, 8883),
            "ws" => (false, true, 8083),
            "wss" => (true, true, 8084),
            _ => {
                return Err(UrlError::SchemeNotSupported {
                    scheme: scheme.into(),
                });
            }
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let websocket = match (is_websocket, path) {
            (true, path) => Some(websocket_path(path)?),
            (false, "" | "/") => None,
            (false, path) => return Err(UrlError::PathNotSupported { rest: path.into() }),
        };
        let (username, password, address) = credentials(authority)?;
        Ok(Self {
            way: Way::Network {
                endpoint: endpoint(address, port)?,
                has_tls,
                websocket,
            },
            username,
            password,
        })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Way::Network {
                endpoint,
                has_tls,
                websocket,
            } => {
                let scheme = match (websocket, has_tls) {
                    (None, false) => "mqtt",
                    (None, true) => "mqtts",
                    (Some(_), false) => "ws",
                    (Some(_), true) => "wss",
                };
                let path = websocket.as_deref().unwrap_or_default();
                write!(f, "{scheme}://{endpoint}{path}")
            }
            Way::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerUrl({self})") // The password is nobody's business.
    }
}

/// Takes a scheme off the front, in any case of its letters.
fn strip_scheme<'a>(url: &'a str, scheme: &str) -> Option<&'a str> {
    let (start, rest) = url.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Reads what follows `unix:`; an empty host may stand before the path.
fn socket_path(rest: &str) -> Result<PathBuf, UrlError> {
    let path = match rest.strip_prefix("//") {
        Some(path) if !path.starts_with('/') => "",
        Some(path) => path,
        None => rest,
    };
    if path.is_empty() {
        return Err(UrlError::PathInvalid { rest: rest.into() });
    }
    Ok(path.into())
}

fn websocket_path(path: &str) -> Result<String, UrlError> {
    if path.contains('#') {
        return Err(UrlError::PathNotSupported { rest: path.into() });
    }
    Ok(match path {
        "" => DEFAULT_PATH.into(),
        path if path.starts_with('?') => std::format!("/{path}"),
        path => path.into(),
    })
}

/// What precedes the host in a URL: user and password, and the rest.
type Credentials<'a> = (Option<String>, Option<Vec<u8>>, &'a str);

pub(super) fn credentials(authority: &str) -> Result<Credentials<'_>, UrlError> {
    let (user, address) = match authority.rsplit_once('@') {
        Some((user, address)) => (Some(user), address),
        None => (None, authority),
    };
    let (username, password) = match user.map(|user| user.split_once(':').ok_or(user)) {
        None => (None, None),
        Some(Ok((username, password))) => (Some(username), Some(password)),
        Some(Err(username)) => (Some(username), None),
    };
    let username = username.map(percent_decode).transpose()?;
    let username = username.map(String::from_utf8).transpose();
    Ok((
        username.map_err(|_| UrlError::EncodingInvalid)?,
        password.map(percent_decode).transpose()?,
        address,
    ))
}

pub(super) fn endpoint(address: &str, default_port: u16) -> Result<Endpoint, EndpointError> {
    match address.parse() {
        Err(EndpointError::PortMissing { .. }) => Endpoint::new(address, default_port),
        parsed => parsed,
    }
}

fn percent_decode(text: &str) -> Result<Vec<u8>, UrlError> {
    let digit = |byte: Option<u8>| {
        let value = byte.map(char::from).and_then(|digit| digit.to_digit(16));
        value
            .and_then(|value| u8::try_from(value).ok())
            .ok_or(UrlError::EncodingInvalid)
    };
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => digit(bytes.next())? << 4 | digit(bytes.next())?,
            byte => byte,
        });
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use std::{format, string::ToString};

    use super::*;

    #[test]
    fn a_url_names_the_way_host_port_and_credentials() {
        // X311-5.1-a
        for (url, shown, username, password) in [
            ("mqtt://broker", "mqtt://broker:1883", None, None),
            ("MQTT://broker:1884/", "mqtt://broker:1884", None, None),
            ("mqtt://[::1]", "mqtt://[::1]:1883", None, None),
            ("mqtt://[::1]:99", "mqtt://[::1]:99", None, None),
            ("mqtts://broker", "mqtts://broker:8883", None, None),
            ("ws://broker", "ws://broker:8083/mqtt", None, None),
            ("ws://broker/", "ws://broker:8083/", None, None),
            ("ws://broker?t=1", "ws://broker:8083/?t=1", None, None),
            (
                "wss://broker:443/a/b?c",
                "wss://broker:443/a/b?c",
                None,
                None,
            ),
            ("unix:/run/mqtt.sock", "unix:/run/mqtt.sock", None, None),
            ("unix:///run/mqtt.sock", "unix:/run/mqtt.sock", None, None),
            ("Unix:mqtt.sock", "unix:mqtt.sock", None, None),
            ("mqtt://ann@broker", "mqtt://broker:1883", Some("ann"), None),
            (
                "wss://ann:p%40ss:w@10.0.0.1",
                "wss://10.0.0.1:8084/mqtt",
                Some("ann"),
                Some("p@ss:w"),
            ),
            (
                "mqtt://ann:@broker",
                "mqtt://broker:1883",
                Some("ann"),
                Some(""),
            ),
        ] {
            let parsed: ServerUrl = url.parse().unwrap();
            assert_eq!(parsed.to_string(), shown, "{url}");
            assert_eq!(parsed.username.as_deref(), username, "{url}");
            assert_eq!(
                parsed.password.as_deref(),
                password.map(str::as_bytes),
                "{url}"
            );
            assert_eq!(
                shown.parse().map(|again: ServerUrl| again.way),
                Ok(parsed.way)
            );
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        let url: ServerUrl = "mqtt://ann:secret@broker".parse().unwrap();
        assert_eq!(format!("{url:?}"), "ServerUrl(mqtt://broker:1883)");
    }

    #[test]
    fn what_is_no_url_of_a_server_is_refused_with_the_cause() {
        for (url, message) in [
            ("broker:1883", "`` is not a supported scheme"),
            ("http://broker", "`http` is not a supported scheme"),
            ("mqtt://broker/topic", "`/topic` follows the host and port"),
            ("mqtts://broker?a", "`?a` follows the host and port"),
            ("ws://broker/a#b", "`/a#b` follows the host and port"),
            ("unix:", "`` is not the path of a socket"),
            (
                "unix://host/path",
                "`//host/path` is not the path of a socket",
            ),
            ("mqtt://a%4@broker", "not percent-encoded correctly"),
            ("mqtt://%ff@broker", "not percent-encoded correctly"),
            ("mqtt://broker:70000", "`70000` is not a port"),
            ("mqtt://", "`` is not a host name"),
        ] {
            let error = url.parse::<ServerUrl>().unwrap_err().to_string();
            assert!(error.contains(message), "{}", format!("{url}: {error}"));
        }
    }
}
