//! A listener of the configuration: what is written, whether it makes sense, and what is opened.

use std::{path::PathBuf, time::Duration};

use mqttstack_broker::{
    ListenerSettings,
    limits::Limits,
    transport::{
        AlpnServer, CertificateFiles, ClientAuthentication, IpNet, KeepAlive, ListenOptions,
        ProxyOptions, ProxyServer, RevocationPolicy, TlsConfigError, TlsServer, TlsServerOptions,
        TlsVersion, WebSocketServer, WebSocketServerOptions,
    },
};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{
    address::{ListenAddress, WEBSOCKET_PATH},
    config::LimitSettings,
    units::{BufferSize, Seconds, Time, Within},
};

/// The name by which a client of TLS asks for a WebSocket.
const HTTP: &str = "http/1.1";
/// The names by which it asks for MQTT.
const MQTT: [&str; 2] = ["mqtt", "x-amzn-mqtt-ca"];

/// One address to listen on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    /// Where, and what is spoken there.
    #[serde(deserialize_with = "parsed")]
    pub(super) address: ListenAddress,
    /// What the log and access rules call it; the address if nothing else is said.
    #[serde(default)]
    name: Option<String>,
    /// Whether clients from other machines may come without credentials.
    #[serde(default)]
    pub(super) allow_anonymous: bool,
    /// Whether clients from other machines may come without encryption.
    #[serde(default)]
    pub(super) allow_plaintext: bool,
    /// How many connections may be open at once.
    #[serde(default)]
    connections_max: Option<Within<u32, 0, { u32::MAX }>>,
    /// How many connections may wait to be accepted.
    #[serde(default)]
    backlog: Option<Within<u16, 1, 65_535>>,
    /// The network device through which alone connections come.
    #[serde(default)]
    device: Option<String>,
    /// Whether `[::]` takes IPv4 too.
    #[serde(default)]
    dual_stack: Option<bool>,
    /// Whether other processes may listen on the same port.
    #[serde(default)]
    reuse_port: bool,
    /// How long a peer may be silent before the system probes it; 0 is never.
    #[serde(default)]
    tcp_keep_alive: Option<Seconds>,
    /// How far apart such probes are.
    #[serde(default)]
    tcp_keep_alive_interval: Option<Seconds>,
    /// Whether small packets leave at once.
    #[serde(default)]
    tcp_no_delay: Option<bool>,
    /// The system's buffer for what a connection sends.
    #[serde(default)]
    send_buffer: Option<BufferSize>,
    /// The system's buffer for what a connection has received.
    #[serde(default)]
    receive_buffer: Option<BufferSize>,
    /// The permission bits of a socket file.
    #[serde(default, deserialize_with = "mode")]
    mode: Option<u32>,
    /// What TLS needs, where it differs from `[tls]`.
    #[serde(default)]
    pub(super) tls: TlsSettings,
    /// Which WebSockets are served.
    #[serde(default)]
    websocket: WebSocketSettings,
    /// Who speaks for others.
    #[serde(default)]
    proxy: ProxySettings,
    /// What connections from here may use, where it differs from `[limits]`.
    #[serde(default)]
    pub(super) limits: LimitSettings,
}

/// What TLS shows and demands. As `[tls]`, what holds for all listeners; in a listener, what
/// differs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TlsSettings {
    /// The certificate, followed by those that lead from it to its authority.
    pub(super) certificate: Option<PathBuf>,
    /// The private key of the certificate.
    pub(super) key: Option<PathBuf>,
    /// Certificates for other names; the client's server name chooses.
    more_certificates: Vec<CertificateSetting>,
    /// Who may sign the certificates of clients.
    pub(super) ca: Option<PathBuf>,
    /// Revocation lists for the certificates of clients.
    #[serde(deserialize_with = "one_or_many")]
    crl: Option<Vec<PathBuf>>,
    /// Which certificates are looked up in them.
    crl_checks: Option<CrlChecks>,
    /// What becomes of a certificate that only a list past its next update vouches for.
    crl_expired: Option<CrlDoubt>,
    /// What becomes of a certificate whose issuer no list covers.
    crl_unknown: Option<CrlDoubt>,
    /// Whether clients show certificates.
    pub(super) client_certificates: Option<ClientCertificates>,
    /// The protocols offered inside TLS, the best one first.
    #[serde(deserialize_with = "one_or_many")]
    alpn: Option<Vec<String>>,
    /// The least version accepted.
    version_min: Option<VersionSetting>,
    /// How often the files are looked at for changes; 0 is never. Only in `[tls]`.
    watch_interval: Option<Time>,
}

/// A further certificate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateSetting {
    certificate: PathBuf,
    key: PathBuf,
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum ClientCertificates {
    /// They are not asked.
    #[default]
    None,
    /// They may have none; one that they show must be valid.
    Optional,
    /// Without a valid one there is no connection.
    Required,
}

/// Which certificates are looked up in revocation lists.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
enum CrlChecks {
    /// That of the client, and all between it and its authority.
    Chain,
    /// That of the client.
    Client,
}

/// What becomes of a certificate that revocation lists leave in doubt.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
enum CrlDoubt {
    Refuse,
    Accept,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum VersionSetting {
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

/// Which WebSockets are served.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WebSocketSettings {
    /// The paths served, beside the one in the address.
    #[serde(deserialize_with = "one_or_many")]
    paths: Option<Vec<String>>,
    /// The origins of the web pages that may connect.
    #[serde(deserialize_with = "one_or_many")]
    origins: Option<Vec<String>>,
}

/// Who speaks for others.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ProxySettings {
    /// The networks of the proxies, or `unix` for whoever connects to a socket.
    #[serde(deserialize_with = "one_or_many")]
    from: Option<Vec<String>>,
    /// Whether everybody else is refused.
    only: bool,
}

/// What is wrong with a listener, and what to do.
#[derive(Debug)]
pub(super) struct ListenerError {
    pub(super) message: String,
    pub(super) hint: String,
}

/// A listener that is ready to be opened, and the TLS of it.
pub(super) struct Prepared {
    pub(super) settings: ListenerSettings,
    pub(super) tls: Option<TlsServer>,
}

impl Listener {
    /// As many seconds as systems take.
    const PROBE_SECONDS_MAX: u32 = 32_767;
    /// How far apart probes are if nothing is said: a peer that answers none is given up after
    /// some minutes.
    const PROBE_INTERVAL: Duration = Duration::from_secs(15);

    pub(super) fn new(address: ListenAddress) -> Self {
        Self {
            address,
            name: None,
            allow_anonymous: false,
            allow_plaintext: false,
            connections_max: None,
            backlog: None,
            device: None,
            dual_stack: None,
            reuse_port: false,
            tcp_keep_alive: None,
            tcp_keep_alive_interval: None,
            tcp_no_delay: None,
            send_buffer: None,
            receive_buffer: None,
            mode: None,
            tls: TlsSettings::default(),
            websocket: WebSocketSettings::default(),
            proxy: ProxySettings::default(),
            limits: LimitSettings::default(),
        }
    }

    /// Says what is wrong with the listener by itself. An address that other machines reach needs
    /// credentials and encryption, or two explicit words.
    pub(super) fn check(&self, defaults: &TlsSettings) -> Result<(), ListenerError> {
        self.check_use(defaults)?;
        if self.address.is_local() {
            return Ok(());
        }
        let tls = self.tls.over(defaults);
        let is_certified =
            self.address.has_tls() && tls.client_certificates == Some(ClientCertificates::Required);
        for (is_fine, missing, flag, key, instead) in [
            (
                self.allow_anonymous || is_certified,
                "credentials, so anyone could use it",
                "--allow-anonymous",
                "allow_anonymous = true",
                "demand certificates of clients (tls.client_certificates = \"required\")",
            ),
            (
                self.allow_plaintext || self.address.has_tls(),
                "encryption, so anyone on the way could read it",
                "--allow-plaintext",
                "allow_plaintext = true",
                "use TLS (mqtts:// or wss://)",
            ),
        ] {
            if !is_fine {
                return Err(ListenerError {
                    message: format!(
                        "{} is reached from other machines and has no {missing}",
                        self.address
                    ),
                    hint: format!(
                        "{instead}; or, to listen there all the same, say {flag}, or `{key}` in its \
                         [[listener]]"
                    ),
                });
            }
        }
        Ok(())
    }

    /// Settings that the address gives no use for are mistakes: somebody relies on them.
    fn check_use(&self, defaults: &TlsSettings) -> Result<(), ListenerError> {
        let is_unix = self.address.is_unix();
        let is_websocket = matches!(
            self.address,
            ListenAddress::Network {
                websocket: Some(_),
                ..
            }
        );
        let dispatches = self.address.has_tls() && self.tls.over(defaults).has_http();
        let has_websocket = self.websocket.paths.is_some() || self.websocket.origins.is_some();
        let has_port = self.device.is_some()
            || self.dual_stack.is_some()
            || self.reuse_port
            || self.tcp_keep_alive.is_some()
            || self.tcp_keep_alive_interval.is_some()
            || self.tcp_no_delay.is_some()
            || self.send_buffer.is_some()
            || self.receive_buffer.is_some();
        for (is_wrong, what, hint) in [
            (
                self.tls.is_some() && !self.address.has_tls(),
                "tls settings, but no TLS",
                "write mqtts:// or wss:// in its address",
            ),
            (
                has_websocket && !is_websocket && !dispatches,
                "websocket settings, but no WebSocket",
                "write ws:// or wss:// in its address, or let mqtts:// offer it: \
                 tls.alpn = [\"mqtt\", \"http/1.1\"]",
            ),
            (
                self.mode.is_some() && !is_unix,
                "a mode, but no socket file",
                "mode is for unix: addresses",
            ),
            (
                has_port && is_unix,
                "settings of a port, but none",
                "device, dual_stack, reuse_port, the tcp settings and the buffers are for addresses \
                 with a port",
            ),
            (
                self.tcp_keep_alive_interval.is_some() && self.keep_alive().is_none(),
                "tcp_keep_alive_interval, but no tcp_keep_alive",
                "say when the first probe is due: tcp_keep_alive = \"60s\"",
            ),
            (
                [self.tcp_keep_alive, self.tcp_keep_alive_interval]
                    .into_iter()
                    .flatten()
                    .any(|time| time.0 > Self::PROBE_SECONDS_MAX),
                "a time for probes that is too long",
                "tcp_keep_alive and its interval are at most 9h",
            ),
            (
                self.tcp_keep_alive_interval
                    .is_some_and(|interval| interval.0 == 0),
                "a tcp_keep_alive_interval of nothing",
                "probes are 1s apart at least",
            ),
            (
                self.tls.watch_interval.is_some(),
                "a watch_interval of its own",
                "set it in [tls], for all of them",
            ),
            (
                self.proxy.only && self.proxy.from.is_none(),
                "proxy.only, but no proxies",
                "name their networks: proxy.from = [\"10.0.0.0/8\"]",
            ),
        ] {
            if is_wrong {
                return Err(ListenerError {
                    message: format!("the listener {} has {what}", self.address),
                    hint: hint.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Reads the files and puts everything together.
    pub(super) fn prepare(
        &self,
        defaults: &TlsSettings,
        limits: &Limits,
    ) -> Result<Prepared, ListenerError> {
        let mut settings = self.place();
        settings = settings
            .named(
                self.name
                    .clone()
                    .unwrap_or_else(|| self.address.to_string()),
            )
            .limits(self.limits.over(limits.clone()));
        if let Some(maximum) = self.connections_max {
            settings = settings.connections_max(maximum.0);
        }
        if let Some(proxy) = self.proxy()? {
            settings = settings.proxy(proxy);
        }
        let websocket = match &self.address {
            ListenAddress::Network { websocket, .. } => websocket.as_deref(),
            #[cfg(unix)]
            ListenAddress::Unix(_) => None,
        };
        if !self.address.has_tls() {
            if let Some(path) = websocket {
                settings = settings.layer(self.websocket(path));
            }
            let tls = None;
            return Ok(Prepared { settings, tls });
        }
        let mut tls = self.tls.over(defaults);
        if websocket.is_some() {
            // Nothing else is spoken there, whatever the others offer.
            tls.alpn.clone_from(&self.tls.alpn);
            tls.alpn.get_or_insert_with(|| vec![HTTP.to_owned()]);
        } else {
            tls.alpn
                .get_or_insert_with(|| MQTT.map(ToOwned::to_owned).to_vec());
        }
        let server = tls.load().map_err(|error| self.explain(&error))?;
        settings = match websocket {
            Some(path) => settings.layer(server.clone()).layer(self.websocket(path)),
            None if tls.has_http() => settings.layer(AlpnServer::new(
                server.clone(),
                self.websocket(WEBSOCKET_PATH),
            )),
            None => settings.layer(server.clone()),
        };
        Ok(Prepared {
            settings,
            tls: Some(server),
        })
    }

    fn place(&self) -> ListenerSettings {
        match &self.address {
            ListenAddress::Network { endpoint, .. } => {
                ListenerSettings::tcp_with(endpoint.clone(), self.listen_options())
            }
            #[cfg(unix)]
            ListenAddress::Unix(path) => {
                let mut options = mqttstack_broker::transport::UnixListenOptions::default();
                if let Some(backlog) = self.backlog {
                    options.backlog = backlog.0;
                }
                if let Some(mode) = self.mode {
                    options.mode = mode;
                }
                ListenerSettings::unix(path, options)
            }
        }
    }

    fn listen_options(&self) -> ListenOptions {
        let mut options = ListenOptions::default();
        if let Some(backlog) = self.backlog {
            options.backlog = backlog.0;
        }
        options.device = self.device.as_deref().map(Into::into);
        options.dual_stack = self.dual_stack.unwrap_or(true);
        options.reuse_port = self.reuse_port;
        options.tcp.no_delay = self.tcp_no_delay.unwrap_or(true);
        options.tcp.keep_alive = self.keep_alive();
        options.tcp.send_buffer_bytes = self.send_buffer.map(BufferSize::bytes);
        options.tcp.receive_buffer_bytes = self.receive_buffer.map(BufferSize::bytes);
        options
    }

    /// Returns how the system probes peers that are silent, if it does.
    fn keep_alive(&self) -> Option<KeepAlive> {
        let seconds = |seconds: Seconds| Duration::from_secs(seconds.0.into());
        let idle = self.tcp_keep_alive.filter(|idle| idle.0 > 0)?;
        let interval = self.tcp_keep_alive_interval;
        Some(KeepAlive {
            idle: seconds(idle),
            interval: interval.map_or(Self::PROBE_INTERVAL, seconds),
        })
    }

    fn websocket(&self, path: &str) -> WebSocketServer {
        let mut options = WebSocketServerOptions::default();
        let more = self.websocket.paths.iter().flatten().map(|path| &**path);
        options.paths = std::iter::once(path).chain(more).map(Into::into).collect();
        let origins = self.websocket.origins.as_ref();
        options.origins = origins.map(|all| all.iter().map(|one| (&**one).into()).collect());
        WebSocketServer::new(options)
    }

    fn proxy(&self) -> Result<Option<ProxyServer>, ListenerError> {
        let Some(from) = &self.proxy.from else {
            return Ok(None);
        };
        let mut options = ProxyOptions::default();
        options.refuses_others = self.proxy.only;
        for network in from {
            if network == "unix" {
                options.trusts_local_sockets = true;
                continue;
            }
            let alone = || {
                network
                    .parse()
                    .map(|address: std::net::IpAddr| address.into())
            };
            let parsed = network.parse::<IpNet>().ok().or_else(|| alone().ok());
            options.trusted.push(parsed.ok_or_else(|| ListenerError {
                message: format!(
                    "the listener {} trusts `{network}`, which is no network",
                    self.address
                ),
                hint: "write proxy.from = [\"10.0.0.0/8\", \"192.0.2.7\", \"unix\"]".to_owned(),
            })?);
        }
        Ok(Some(ProxyServer::new(options)))
    }

    fn explain(&self, error: &TlsConfigError) -> ListenerError {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "only some causes can be helped"
        )]
        let hint = match error {
            TlsConfigError::CertificateMissing => {
                "name tls.certificate and tls.key in its [[listener]], both in [tls], or --cert and \
                 --key; `mqttstack certs DIR` makes some for development"
            }
            TlsConfigError::AuthorityMissing => {
                "name who signs the certificates of clients: tls.ca in its [[listener]], ca in [tls], \
                 or --cafile"
            }
            TlsConfigError::KeyMismatch { .. } => "name the key that belongs to the certificate",
            _ => "certificates and keys are files in PEM; paths in a file are relative to it",
        };
        ListenerError {
            message: format!("the listener {}: {error}", self.address),
            hint: hint.to_owned(),
        }
    }
}

impl TlsSettings {
    /// Lays these settings over others, which hold for all listeners.
    fn over(&self, defaults: &Self) -> Self {
        // A certificate comes with its key, so never one from here and one from there. Nor with
        // those for other names: what else is shown here would answer to names of other listeners.
        let shown = if self.certificate.is_some() || self.key.is_some() {
            self
        } else {
            defaults
        };
        Self {
            certificate: shown.certificate.clone(),
            key: shown.key.clone(),
            more_certificates: if self.more_certificates.is_empty() {
                shown.more_certificates.clone()
            } else {
                self.more_certificates.clone()
            },
            ca: self.ca.clone().or_else(|| defaults.ca.clone()),
            crl: self.crl.clone().or_else(|| defaults.crl.clone()),
            crl_checks: self.crl_checks.or(defaults.crl_checks),
            crl_expired: self.crl_expired.or(defaults.crl_expired),
            crl_unknown: self.crl_unknown.or(defaults.crl_unknown),
            client_certificates: self.client_certificates.or(defaults.client_certificates),
            alpn: self.alpn.clone().or_else(|| defaults.alpn.clone()),
            version_min: self.version_min.or(defaults.version_min),
            watch_interval: defaults.watch_interval,
        }
    }

    /// Returns how often the files are looked at for changes; `None` is never.
    pub(super) fn watch_interval(&self) -> Option<Duration> {
        /// Soon enough for a person who waits, and next to no work.
        const DEFAULT: Duration = Duration::from_secs(10);
        let interval = self.watch_interval.map_or(DEFAULT, |time| time.0);
        (!interval.is_zero()).then_some(interval)
    }

    /// Says whether anything is set.
    const fn is_some(&self) -> bool {
        self.certificate.is_some()
            || self.key.is_some()
            || !self.more_certificates.is_empty()
            || self.ca.is_some()
            || self.crl.is_some()
            || self.crl_checks.is_some()
            || self.crl_expired.is_some()
            || self.crl_unknown.is_some()
            || self.client_certificates.is_some()
            || self.alpn.is_some()
            || self.version_min.is_some()
    }

    /// Returns what revocation lists are held to.
    fn revocation(&self) -> RevocationPolicy {
        let mut policy = RevocationPolicy::default();
        policy.checks_chain = self.crl_checks != Some(CrlChecks::Client);
        policy.refuses_expired_lists = self.crl_expired != Some(CrlDoubt::Accept);
        policy.refuses_unknown = self.crl_unknown != Some(CrlDoubt::Accept);
        policy
    }

    /// Says whether clients may ask for a WebSocket by name.
    fn has_http(&self) -> bool {
        self.alpn.iter().flatten().any(|name| name == HTTP)
    }

    fn load(&self) -> Result<TlsServer, TlsConfigError> {
        let (Some(chain), Some(key)) = (&self.certificate, &self.key) else {
            return Err(TlsConfigError::CertificateMissing);
        };
        let mut options = TlsServerOptions::new(CertificateFiles::new(chain, key));
        let more = self.more_certificates.iter();
        options
            .certificates
            .extend(more.map(|files| CertificateFiles::new(&files.certificate, &files.key)));
        options.client_authentication = match self.client_certificates.unwrap_or_default() {
            ClientCertificates::None => ClientAuthentication::None,
            ClientCertificates::Optional => ClientAuthentication::Optional,
            ClientCertificates::Required => ClientAuthentication::Required,
        };
        options.client_authorities.clone_from(&self.ca);
        options.revocation_lists = self.crl.clone().unwrap_or_default();
        options.revocation = self.revocation();
        options.protocols = self
            .alpn
            .iter()
            .flatten()
            .map(|name| (&**name).into())
            .collect();
        options.version_min = match self.version_min {
            Some(VersionSetting::V1_3) => TlsVersion::V1_3,
            Some(VersionSetting::V1_2) | None => TlsVersion::V1_2,
        };
        TlsServer::load(options)
    }
}

fn parsed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ListenAddress, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|error| D::Error::custom(format!("{text:?}: {error}")))
}

/// Permission bits as `chmod` takes them: `"0660"`.
fn mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match u32::from_str_radix(&text, 8) {
        Ok(bits) if bits <= 0o777 => Ok(Some(bits)),
        Ok(_) | Err(_) => Err(D::Error::custom(format!(
            "{text:?} is not a mode such as \"0660\""
        ))),
    }
}

/// One text, or a list of them; a variable of the environment can only be one.
fn one_or_many<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: From<String>,
{
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a text, or a list of them")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(Some(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one.into()],
        OneOrMany::Many(many) => many.into_iter().map(Into::into).collect(),
    }))
}

#[cfg(test)]
mod tests;
