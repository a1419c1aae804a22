//! The proxy on the way to a server, as a URL.

use std::string::String;

use mqttstack_transport::{Endpoint, TunnelClient, TunnelError, TunnelProtocol};

use super::url::{UrlError, credentials, endpoint};

/// A proxy, and how it is asked for a way through.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    pub(super) endpoint: Endpoint,
    pub(super) client: TunnelClient,
}

/// Why a text is not the URL of a proxy.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProxyUrlError {
    /// It does not say what the proxy speaks, or something else than these two.
    #[error("`{scheme}` is not what a proxy speaks; write http://host:port or socks5://host:port")]
    SchemeNotSupported {
        /// What stands before `://`; empty if nothing does.
        scheme: String,
    },
    /// Host, port, user or password are not valid, or a path follows.
    #[error("the proxy: {0}")]
    Url(#[from] UrlError),
    /// User or password cannot be sent.
    #[error(transparent)]
    Tunnel(#[from] TunnelError),
}

impl Proxy {
    /// Reads `http://[user:password@]host[:port]` (port 80) or `socks5://...` (port 1080).
    pub(super) fn parse(url: &str) -> Result<Self, ProxyUrlError> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (protocol, port) = match &*scheme.to_ascii_lowercase() {
            "http" => (TunnelProtocol::HttpConnect, 80),
            // Names are the proxy's to resolve, which some tools call socks5h.
            "socks5" | "socks5h" => (TunnelProtocol::Socks5, 1080),
            _ => {
                return Err(ProxyUrlError::SchemeNotSupported {
                    scheme: scheme.into(),
                });
            }
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if !matches!(path, "" | "/") {
            return Err(UrlError::PathNotSupported { rest: path.into() }.into());
        }
        let (user, password, address) = credentials(authority)?;
        let password = String::from_utf8(password.unwrap_or_default());
        let password = password.map_err(|_| UrlError::EncodingInvalid)?;
        Ok(Self {
            endpoint: endpoint(address, port).map_err(UrlError::from)?,
            client: match user {
                Some(user) => TunnelClient::with_credentials(protocol, &user, &password)?,
                None => TunnelClient::new(protocol),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_proxy_is_named_by_protocol_host_and_port() {
        for (url, endpoint) in [
            ("http://proxy", "proxy:80"),
            ("HTTP://proxy:3128/", "proxy:3128"),
            ("socks5://[::1]", "[::1]:1080"),
            ("socks5h://ann:pw@proxy:9", "proxy:9"),
        ] {
            let proxy = Proxy::parse(url).unwrap();
            assert_eq!(proxy.endpoint.to_string(), endpoint, "{url}");
        }
        for (url, message) in [
            ("proxy:3128", "`` is not what a proxy speaks"),
            ("https://proxy", "`https` is not what a proxy speaks"),
            ("http://proxy/path", "`/path` follows"),
            ("socks5://ann@proxy", "user or password cannot be sent"),
            ("http://pro xy", "`pro xy` is not a host name"),
        ] {
            let error = Proxy::parse(url).unwrap_err().to_string();
            assert!(error.contains(message), "{url}: {error}");
        }
    }
}
