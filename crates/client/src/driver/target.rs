//! Where to connect to, as a URL.

use std::{string::String, vec::Vec};

use mqttstack_transport::{Endpoint, EndpointError};

/// The port of MQTT over TCP.
pub const DEFAULT_PORT: u16 = 1883;

/// What a URL says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Target {
    pub(super) endpoint: Endpoint,
    pub(super) username: Option<String>,
    pub(super) password: Option<Vec<u8>>,
}

/// Why a text is not the URL of a server.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UrlError {
    /// It does not say how to connect, or in a way that is not supported.
    #[error("`{scheme}` is not a supported scheme; write mqtt://host:port")]
    SchemeNotSupported {
        /// What stands before `://`; empty if nothing does.
        scheme: String,
    },
    /// Something follows the port.
    #[error("`{rest}` follows the host and port; an mqtt:// URL has no path")]
    PathNotSupported {
        /// What follows.
        rest: String,
    },
    /// A percent sign is not followed by two hexadecimal digits, or the user name is not UTF-8.
    #[error("the user name or password is not percent-encoded correctly")]
    EncodingInvalid,
    /// The host and port are not valid.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

impl Target {
    /// Reads `mqtt://[user[:password]@]host[:port]`.
    pub(super) fn parse(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        if !scheme.eq_ignore_ascii_case("mqtt") {
            return Err(UrlError::SchemeNotSupported {
                scheme: scheme.into(),
            });
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if !matches!(path, "" | "/") {
            return Err(UrlError::PathNotSupported { rest: path.into() });
        }
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
        Ok(Self {
            endpoint: endpoint(address)?,
            username: username.map_err(|_| UrlError::EncodingInvalid)?,
            password: password.map(percent_decode).transpose()?,
        })
    }
}

fn endpoint(address: &str) -> Result<Endpoint, EndpointError> {
    match address.parse() {
        Err(EndpointError::PortMissing { .. }) => Endpoint::new(address, DEFAULT_PORT),
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
    fn a_url_names_host_port_and_credentials() {
        for (url, endpoint, username, password) in [
            ("mqtt://broker", "broker:1883", None, None),
            ("MQTT://broker:1884/", "broker:1884", None, None),
            ("mqtt://[::1]", "[::1]:1883", None, None),
            ("mqtt://[::1]:99", "[::1]:99", None, None),
            ("mqtt://ann@broker", "broker:1883", Some("ann"), None),
            (
                "mqtt://ann:p%40ss:w@10.0.0.1",
                "10.0.0.1:1883",
                Some("ann"),
                Some("p@ss:w"),
            ),
            ("mqtt://ann:@broker", "broker:1883", Some("ann"), Some("")),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.endpoint.to_string(), endpoint, "{url}");
            assert_eq!(target.username.as_deref(), username, "{url}");
            assert_eq!(
                target.password.as_deref(),
                password.map(str::as_bytes),
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_no_url_of_a_server_is_refused_with_the_cause() {
        for (url, message) in [
            ("broker:1883", "`` is not a supported scheme"),
            ("http://broker", "`http` is not a supported scheme"),
            ("mqtt://broker/topic", "`/topic` follows the host and port"),
            ("mqtt://a%4@broker", "not percent-encoded correctly"),
            ("mqtt://%ff@broker", "not percent-encoded correctly"),
            ("mqtt://broker:70000", "`70000` is not a port"),
            ("mqtt://", "`` is not a host name"),
        ] {
            let error = Target::parse(url).unwrap_err().to_string();
            assert!(error.contains(message), "{}", format!("{url}: {error}"));
        }
    }
}
