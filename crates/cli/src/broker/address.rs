//! Where a listener is, and what it speaks, as operators write it: `mqtts://0.0.0.0:8883`.

use std::{fmt, str::FromStr};

use mqttstack_broker::transport::{Endpoint, EndpointError};

/// The path of WebSockets unless another is named.
pub(super) const WEBSOCKET_PATH: &str = "/mqtt";

/// The address of a listener.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum ListenAddress {
    /// A port of this machine.
    Network {
        /// Host and port.
        endpoint: Endpoint,
        /// Whether TLS comes first.
        has_tls: bool,
        /// The path, if it serves WebSockets.
        websocket: Option<String>,
    },
    /// A Unix domain socket.
    #[cfg(unix)]
    Unix(std::path::PathBuf),
}

/// Why a text is no address to listen on.
#[derive(Debug, thiserror::Error)]
pub(super) enum AddressError {
    #[error("`{0}://` is not a scheme; write mqtt://, mqtts://, ws://, wss:// or unix:/path")]
    Scheme(String),
    #[error("`{0}` follows host and port; only ws:// and wss:// have a path")]
    Path(String),
    #[error("`{0}` cannot stand in a path to serve")]
    Query(String),
    #[error("unix: needs the path of the socket, as in unix:/run/mqttstack.sock")]
    SocketPath,
    #[error("Unix domain sockets are not available on this system")]
    #[cfg(not(unix))]
    NoSockets,
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

impl ListenAddress {
    /// Says whether only this machine reaches it.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Network { endpoint, .. } => match endpoint.ip() {
                Some(ip) => ip.is_loopback(),
                None => endpoint.host().eq_ignore_ascii_case("localhost"),
            },
            #[cfg(unix)]
            Self::Unix(_) => true,
        }
    }

    /// Says whether TLS comes first.
    pub(super) const fn has_tls(&self) -> bool {
        matches!(self, Self::Network { has_tls: true, .. })
    }

    /// Says whether it is the file of a socket.
    pub(super) const fn is_unix(&self) -> bool {
        !matches!(self, Self::Network { .. })
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return socket(path.strip_prefix("//").unwrap_or(path));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("mqtt", text));
        let (has_tls, is_websocket, port) = match &*scheme.to_ascii_lowercase() {
            "mqtt" => (false, false, 1883),
            "mqtts" => (true, false, 8883),
            "ws" => (false, true, 8083),
            "wss" => (true, true, 8084),
            _ => return Err(AddressError::Scheme(scheme.to_owned())),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let websocket = match (is_websocket, path) {
            (true, "") => Some(WEBSOCKET_PATH.to_owned()),
            (true, path) if path.contains(['?', '#']) => {
                return Err(AddressError::Query(path.to_owned()));
            }
            (true, path) => Some(path.to_owned()),
            (false, "" | "/") => None,
            (false, path) => return Err(AddressError::Path(path.to_owned())),
        };
        let endpoint = match authority.parse() {
            // Without a scheme, what stands alone is as likely the port as the host.
            Err(EndpointError::PortMissing { .. }) if text.contains("://") => {
                Endpoint::new(authority, port)?
            }
            parsed => parsed?,
        };
        Ok(Self::Network {
            endpoint,
            has_tls,
            websocket,
        })
    }
}

#[cfg(unix)]
fn socket(path: &str) -> Result<ListenAddress, AddressError> {
    if path.is_empty() {
        return Err(AddressError::SocketPath);
    }
    Ok(ListenAddress::Unix(path.into()))
}

#[cfg(not(unix))]
fn socket(_: &str) -> Result<ListenAddress, AddressError> {
    Err(AddressError::NoSockets)
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network {
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
            #[cfg(unix)]
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_what_is_spoken_and_the_port_follows() {
        // X311-5.1-a
        for (text, shown) in [
            ("127.0.0.1:1884", "mqtt://127.0.0.1:1884"),
            ("localhost:0", "mqtt://localhost:0"),
            ("mqtt://127.0.0.1", "mqtt://127.0.0.1:1883"),
            ("mqtts://0.0.0.0", "mqtts://0.0.0.0:8883"),
            ("MQTTS://[::]:443", "mqtts://[::]:443"),
            ("mqtts://[::]", "mqtts://[::]:8883"),
            ("ws://0.0.0.0", "ws://0.0.0.0:8083/mqtt"),
            ("ws://0.0.0.0/", "ws://0.0.0.0:8083/"),
            (
                "wss://broker.example/live",
                "wss://broker.example:8084/live",
            ),
            #[cfg(unix)]
            ("unix:/run/mqtt.sock", "unix:/run/mqtt.sock"),
            #[cfg(unix)]
            ("unix:///run/mqtt.sock", "unix:/run/mqtt.sock"),
        ] {
            let address: ListenAddress = text.parse().expect(text);
            assert_eq!(address.to_string(), shown);
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said() {
        for (text, expected) in [
            ("1883", "`1883` has no port"),
            ("http://0.0.0.0:80", "`http://` is not a scheme"),
            ("mqtt://0.0.0.0:1883/mqtt", "`/mqtt` follows host and port"),
            (
                "ws://0.0.0.0/mqtt?x=1",
                "`/mqtt?x=1` cannot stand in a path",
            ),
            ("mqtts://0.0.0.0:99999", "`99999` is not a port"),
            ("mqtts://", "`` is not a host"),
            ("mqtt://::1", "is ambiguous"),
            #[cfg(unix)]
            ("unix:", "unix: needs the path"),
        ] {
            let error = text.parse::<ListenAddress>().expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn only_this_machine_reaches_loopback_and_sockets() {
        for (text, is_local) in [
            ("127.9.9.9:1883", true),
            ("mqtts://[::1]", true),
            ("ws://LocalHost", true),
            ("0.0.0.0:1883", false),
            ("[::]:1883", false),
            ("broker.example:1883", false),
            #[cfg(unix)]
            ("unix:/s", true),
        ] {
            let address: ListenAddress = text.parse().expect(text);
            assert_eq!(address.is_local(), is_local, "{text}");
        }
    }
}
