//! The ways into a broker: its listeners, one for each transport and each mistake.

use std::fmt;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use super::certificates::{Certificates, Pair};

/// A listener of a broker.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Way {
    #[default]
    Tcp,
    Tls,
    /// TLS that demands a certificate of the client.
    Mutual,
    Ws,
    Wss,
    Unix,
    /// TLS with a certificate that is valid no longer.
    Expired,
    /// TLS with a certificate for another host.
    Elsewhere,
}

impl Way {
    pub(crate) const ALL: [Self; 8] = [
        Self::Tls,
        Self::Mutual,
        Self::Ws,
        Self::Wss,
        Self::Unix,
        Self::Expired,
        Self::Elsewhere,
        Self::Tcp,
    ];

    /// Those over which messages are meant to go.
    pub(crate) const WORKING: [Self; 6] = [
        Self::Tcp,
        Self::Tls,
        Self::Mutual,
        Self::Ws,
        Self::Wss,
        Self::Unix,
    ];

    pub(crate) const fn has_tls(self) -> bool {
        !matches!(self, Self::Tcp | Self::Ws | Self::Unix)
    }

    pub(crate) const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// What a server shows here, if it shows something.
    pub(crate) fn certificate(self, certificates: &Certificates) -> Option<Pair> {
        match self {
            Self::Tcp | Self::Ws | Self::Unix => None,
            Self::Tls | Self::Mutual | Self::Wss => Some(certificates.server()),
            Self::Expired => Some(certificates.expired()),
            Self::Elsewhere => Some(certificates.elsewhere()),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Mutual => "mutual TLS",
            Self::Ws => "WebSocket",
            Self::Wss => "WebSocket over TLS",
            Self::Unix => "a Unix socket",
            Self::Expired => "TLS with an expired certificate",
            Self::Elsewhere => "TLS with another host's certificate",
        })
    }
}

/// Where the listeners of a broker are.
#[derive(Clone, Debug)]
pub(crate) struct Doors {
    pub(crate) certificates: Certificates,
    pub(crate) socket: PathBuf,
    ports: Vec<(Way, u16)>,
}

/// One of them, as a client library is told.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Door {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) transport: &'static str,
    pub(crate) socket: Option<PathBuf>,
    pub(crate) cafile: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

impl Door {
    /// The plain one of a broker that has no other.
    pub(crate) fn plain(host: String, port: u16) -> Self {
        Self {
            host,
            port,
            transport: "tcp",
            socket: None,
            cafile: None,
            cert: None,
            key: None,
        }
    }
}

impl Doors {
    /// Makes certificates, and finds ports that were free a moment ago.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let listeners: Vec<TcpListener> = Way::ALL
            .iter()
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<Result<_, _>>()?;
        let mut ports = Vec::new();
        for (way, listener) in Way::ALL.into_iter().zip(&listeners) {
            ports.push((way, listener.local_addr()?.port()));
        }
        Ok(Self {
            certificates: Certificates::make(folder)?,
            socket: folder.join("mqtt.sock"),
            ports,
        })
    }

    pub(crate) fn port(&self, way: Way) -> Result<u16> {
        let found = self.ports.iter().find(|(one, _)| *one == way);
        found.map(|(_, port)| *port).context("no such listener")
    }

    pub(crate) fn door(&self, way: Way) -> Result<Door> {
        let certificates = &self.certificates;
        let client = (way == Way::Mutual).then(|| certificates.client());
        let (cert, key) = client.map(|pair| (pair.chain, pair.key)).unzip();
        Ok(Door {
            host: "127.0.0.1".into(),
            port: self.port(way)?,
            transport: match way {
                Way::Ws | Way::Wss => "websockets",
                Way::Unix => "unix",
                Way::Tcp | Way::Tls | Way::Mutual | Way::Expired | Way::Elsewhere => "tcp",
            },
            socket: (way == Way::Unix).then(|| self.socket.clone()),
            cafile: way.has_tls().then(|| certificates.authority_file()),
            cert,
            key,
        })
    }

    /// A configuration of our broker.
    pub(crate) fn mqttstack(&self) -> Result<String> {
        let mut tables = String::new();
        for way in Way::ALL {
            let scheme = match (way.is_websocket(), way.has_tls()) {
                (false, false) => "mqtt",
                (false, true) => "mqtts",
                (true, false) => "ws",
                (true, true) => "wss",
            };
            let address = if way == Way::Unix {
                format!("unix:{}", self.socket.display())
            } else {
                format!("{scheme}://127.0.0.1:{}", self.port(way)?)
            };
            tables += &format!("[[listener]]\naddress = \"{address}\"\n");
            if let Some(Pair { chain, key }) = way.certificate(&self.certificates) {
                tables += &format!(
                    "[listener.tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
                    chain.display(),
                    key.display()
                );
            }
            if way == Way::Mutual {
                tables += &format!(
                    "ca = \"{}\"\nclient_certificates = \"required\"\n",
                    self.certificates.authority_file().display()
                );
            }
        }
        Ok(tables)
    }

    /// The lines of a configuration of mosquitto.
    pub(crate) fn mosquitto(&self) -> Result<String> {
        let mut lines = String::new();
        for way in Way::ALL {
            if way == Way::Unix {
                lines += &format!("listener 0 {}\n", self.socket.display());
                continue;
            }
            lines += &format!("listener {} 127.0.0.1\n", self.port(way)?);
            if way.is_websocket() {
                lines += "protocol websockets\n";
            }
            if let Some(Pair { chain, key }) = way.certificate(&self.certificates) {
                let authority = self.certificates.authority_file();
                lines += &format!(
                    "cafile {}\ncertfile {}\nkeyfile {}\n",
                    authority.display(),
                    chain.display(),
                    key.display()
                );
            }
            if way == Way::Mutual {
                lines += "require_certificate true\n";
            }
        }
        Ok(lines)
    }
}
