//! The options that `pub` and `sub` share: where to connect, as whom, and how.

use std::{
    env, fs,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::{self, IsTerminal as _},
    net::IpAddr,
    path::PathBuf,
    process,
};

use mqttstack_client::{
    Builder, Client, ConnectionEvent, DEFAULT_PORT, Inbox, ServerUrl,
    codec::{ProtocolVersion, QoS},
    core::{CleanStart, ReconnectPolicy},
    limits::Limits,
    session::Message,
    transport::{ConnectOptions, Endpoint},
};

use crate::{
    encryption::Encryption,
    failure::Failure,
    properties::{self, GivenProperties},
};

/// Connection options.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Server to connect to [env: MQTTSTACK_HOST] [default: localhost].
    #[arg(short = 'h', long, value_name = "HOST")]
    host: Option<String>,
    /// Port to connect to [env: MQTTSTACK_PORT] [default: 1883, or 8883 over TLS; with --ws 8083 and
    /// 8084].
    #[arg(short, long)]
    port: Option<u16>,
    /// Everything in one: mqtt://USER:PASSWORD@HOST:PORT/TOPIC, or mqtts://; all but the host may be
    /// left out. Or ws://HOST:PORT/PATH, wss://, unix:PATH: these have no topic. MQTTSTACK_HOST and
    /// MQTTSTACK_PORT do not matter then.
    #[arg(short = 'L', long, conflicts_with_all = ["host", "port"])]
    url: Option<String>,
    /// Unix domain socket to connect to; MQTTSTACK_HOST, MQTTSTACK_PORT and MQTTSTACK_PROXY do not
    /// matter then.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["host", "port", "url", "proxy"])]
    unix: Option<PathBuf>,
    /// Connect to a WebSocket at /mqtt; -L names another path.
    #[arg(long, conflicts_with_all = ["url", "unix"])]
    ws: bool,
    /// Proxy to connect through: http://USER:PASSWORD@HOST:PORT or socks5://; user and password may
    /// be left out [env: MQTTSTACK_PROXY, which does not matter to unix: and --unix].
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// Send small packets at once, which happens anyway.
    #[arg(long)]
    nodelay: bool,
    /// Address of this machine to connect from.
    #[arg(short = 'A', long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// Client identifier; made up if not given.
    #[arg(short, long, value_name = "ID")]
    id: Option<String>,
    /// Make the client identifier of this and the number of the process.
    #[arg(short = 'I', long, value_name = "PREFIX", conflicts_with = "id")]
    id_prefix: Option<String>,
    /// Version of MQTT: 5, 311 or 31 (also mqttv5, mqttv311, mqttv31).
    #[arg(short = 'V', long, value_name = "VERSION", default_value = "5", value_parser = parse_version)]
    pub(crate) protocol_version: ProtocolVersion,
    /// User name.
    #[arg(short, long, env = "MQTTSTACK_USERNAME")]
    username: Option<String>,
    /// Password. It shows in the list of processes; the other ways do not.
    #[arg(
        short = 'P',
        long = "pw",
        alias = "password",
        value_name = "PASSWORD",
        env = "MQTTSTACK_PASSWORD",
        hide_env_values = true
    )]
    password: Option<String>,
    /// Read the password from the first line of a file.
    #[arg(
        long,
        value_name = "FILE",
        env = "MQTTSTACK_PASSWORD_FILE",
        conflicts_with = "password_prompt"
    )]
    password_file: Option<PathBuf>,
    /// Ask for the password.
    #[arg(long)]
    password_prompt: bool,
    /// How many messages of QoS 1 and 2 may be on their way to the server at once; 0 is no bound
    /// but the server's.
    #[arg(short = 'M', long, value_name = "COUNT")]
    max_inflight: Option<u16>,
    /// Keep alive in seconds; 0 is off.
    #[arg(short, long, value_name = "SECONDS", default_value_t = 60)]
    keepalive: u16,
    /// Resume the session of an earlier connection and leave it behind (needs -i).
    #[arg(short = 'c', long)]
    disable_clean_session: bool,
    /// How long the session is kept after the connection, in seconds (5.0).
    #[arg(short = 'x', long, value_name = "SECONDS")]
    session_expiry_interval: Option<u32>,
    /// Property of a 5.0 packet: connect, publish, subscribe, unsubscribe or will, then the name,
    /// then the value (two for user-property). May be repeated.
    #[arg(short = 'D', long = "property", num_args = 3..=4, value_names = ["COMMAND", "PROPERTY", "VALUE"])]
    property: Vec<String>,
    /// Say on standard error what happens.
    #[arg(short = 'd', long)]
    pub(crate) debug: bool,
    /// Do not report errors.
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Topic of the message that the server publishes should this client vanish.
    #[arg(long, value_name = "TOPIC", help_heading = "Will")]
    will_topic: Option<String>,
    /// Its payload.
    #[arg(
        long,
        value_name = "PAYLOAD",
        requires = "will_topic",
        help_heading = "Will"
    )]
    will_payload: Option<String>,
    /// Its QoS.
    #[arg(long, value_name = "QOS", requires = "will_topic", value_parser = parse_qos, default_value = "0", help_heading = "Will")]
    will_qos: QoS,
    /// Retain it.
    #[arg(long, requires = "will_topic", help_heading = "Will")]
    will_retain: bool,
    #[command(flatten)]
    encryption: Encryption,
}

/// A connection as it is to be made.
pub(crate) struct Prepared {
    pub(crate) builder: Builder,
    pub(crate) server: ServerUrl,
    version: ProtocolVersion,
    pub(crate) properties: GivenProperties,
    /// The topic in the URL.
    pub(crate) topic: Option<String>,
}

impl Connection {
    /// Turns the options into a client to be made.
    pub(crate) fn prepare(&self, purpose: &str, limits: Limits) -> Result<Prepared, Failure> {
        self.prepare_in(purpose, limits, &|name| env::var(name).ok())
    }

    /// As [`prepare`](Self::prepare), with these variables of the environment. They say less than
    /// any option: with one that names the server, those that would are not looked at.
    fn prepare_in(
        &self,
        purpose: &str,
        limits: Limits,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Prepared, Failure> {
        let properties = GivenProperties::parse(&self.property)?;
        if !properties.is_empty() && self.protocol_version != ProtocolVersion::V5 {
            return Err(Failure::usage(
                "-D needs MQTT 5.0: leave -V away, or say -V 5",
            ));
        }
        let mut limits = limits;
        let (connect_properties, expiry_property) =
            properties::connect(&properties.connect, &mut limits)?;
        self.bound(&mut limits);
        let (url, topic) = self.url(environment)?;
        let proxy = self.proxy(&url, environment)?;
        let mut transport = ConnectOptions::default();
        transport.local_ip = self.bind;
        let mut builder = Client::builder(&url)
            .version(self.protocol_version)
            .client_id(self.client_id(purpose)?)
            .keep_alive(self.keepalive)
            .limits(limits)
            .connect_properties(connect_properties)
            .transport(transport);
        builder = self.encryption.apply(builder);
        if let Some(proxy) = proxy {
            builder = builder.proxy(proxy);
        }
        if self.disable_clean_session {
            builder = builder.clean_start(CleanStart::Never);
        }
        if let Some(seconds) = self.session_expiry_interval.or(expiry_property) {
            builder = builder.session_expiry(seconds);
        }
        if let Some(username) = &self.username {
            builder = builder.username(username);
        }
        if let Some(password) = self.password()? {
            builder = builder.password(password);
        }
        if let Some(topic) = &self.will_topic {
            let (delay, given) = properties::will_delay(&properties.will)?;
            let payload = self.will_payload.clone().unwrap_or_default();
            let will = Message::builder(topic, payload)
                .qos(self.will_qos)
                .retain(self.will_retain);
            let will = properties::publish(&given, will)?.build();
            let will = will.map_err(|error| Failure::usage(format!("the will: {error}")))?;
            builder = builder.will(&will, delay);
        } else if !properties.will.is_empty() {
            return Err(Failure::usage("-D will needs --will-topic"));
        }
        if self.debug {
            builder = builder.on_event(log);
        }
        let server = url.parse::<ServerUrl>();
        let server = server.map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Prepared {
            version: self.protocol_version,
            builder,
            server,
            properties,
            topic,
        })
    }

    /// Puts the options that are limits into limits.
    fn bound(&self, limits: &mut Limits) {
        if let Some(count) = self.max_inflight {
            limits.inflight_max = if count == 0 { u16::MAX } else { count };
        }
    }

    fn client_id(&self, purpose: &str) -> Result<String, Failure> {
        Ok(match (&self.id, &self.id_prefix) {
            (Some(id), _) => id.clone(),
            (None, Some(prefix)) => format!("{prefix}{}", process::id()),
            (None, None) if self.disable_clean_session => {
                return Err(Failure::usage(
                    "-c needs a client identifier: give one with -i",
                ));
            }
            // At most 23 characters, which every server takes.
            (None, None) => {
                let chance = RandomState::new().build_hasher().finish();
                format!("mqttstack-{purpose}-{:08x}", chance & 0xFFFF_FFFF)
            }
        })
    }

    /// Returns the URL of the server, and the topic if the URL that was given has one.
    fn url(
        &self,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(String, Option<String>), Failure> {
        if let Some(path) = &self.unix {
            return Ok((format!("unix:{}", path.display()), None));
        }
        let Some(url) = &self.url else {
            let (scheme, usual_port) = match (self.ws, self.encryption.is_wanted()) {
                (false, false) => ("mqtt", DEFAULT_PORT),
                (false, true) => ("mqtts", 8883),
                (true, false) => ("ws", 8083),
                (true, true) => ("wss", 8084),
            };
            let named = |option: &Option<String>, variable| {
                let name = option.clone().or_else(|| environment(variable));
                name.filter(|name| !name.is_empty())
            };
            let host = named(&self.host, "MQTTSTACK_HOST");
            let host = host.as_deref().unwrap_or("localhost");
            let port = match (self.port, named(&None, "MQTTSTACK_PORT")) {
                (Some(port), _) => port,
                (None, Some(text)) => text.parse().map_err(|_| {
                    Failure::usage(format!("MQTTSTACK_PORT: `{text}` is not a port"))
                })?,
                (None, None) => usual_port,
            };
            let endpoint = Endpoint::new(host, port);
            let endpoint = endpoint.map_err(|error| Failure::usage(error.to_string()))?;
            return Ok((format!("{scheme}://{endpoint}"), None));
        };
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        // What follows the host of a WebSocket is its own.
        if !["mqtt", "mqtts"].contains(&&*scheme.to_ascii_lowercase()) {
            return Ok((url.clone(), None));
        }
        let (server, topic) = rest.split_once('/').unwrap_or((rest, ""));
        let topic = (!topic.is_empty()).then(|| topic.into());
        Ok((format!("{scheme}://{server}"), topic))
    }

    /// Returns the proxy on the way to a server; a socket on this machine needs none.
    fn proxy(
        &self,
        url: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<String>, Failure> {
        let is_unix = url.to_ascii_lowercase().starts_with("unix:");
        match &self.proxy {
            Some(_) if is_unix => Err(Failure::usage(
                "--proxy: there is no proxy on the way to a Unix domain socket",
            )),
            Some(proxy) => Ok(Some(proxy.clone())),
            None if is_unix => Ok(None),
            None => Ok(environment("MQTTSTACK_PROXY").filter(|proxy| !proxy.is_empty())),
        }
    }

    fn password(&self) -> Result<Option<Vec<u8>>, Failure> {
        if self.password_prompt {
            let password = rpassword::prompt_password("Password: ");
            let password = password.map_err(|error| Failure::input("the password", &error))?;
            return Ok(Some(password.into()));
        }
        if let Some(file) = &self.password_file {
            let content = fs::read(file);
            let content =
                content.map_err(|error| Failure::input(&file.display().to_string(), &error))?;
            let line = content
                .split(|byte| *byte == b'\n')
                .next()
                .unwrap_or_default();
            return Ok(Some(line.strip_suffix(b"\r").unwrap_or(line).into()));
        }
        Ok(self.password.clone().map(String::into_bytes))
    }
}

impl Prepared {
    /// Connects; a failure of the first attempt is final.
    pub(crate) fn connect(self, reconnects: bool) -> Result<(Client, Inbox), Failure> {
        let policy = if reconnects {
            ReconnectPolicy::default()
        } else {
            ReconnectPolicy::NEVER
        };
        let connected = self.builder.reconnect(policy).connect();
        connected.map_err(|error| Failure::builder(error, &self.server, self.version))
    }
}

fn log(event: &ConnectionEvent) {
    match event {
        ConnectionEvent::Connected {
            session_present,
            properties,
        } => {
            let session = if *session_present { "the old" } else { "a new" };
            eprintln!("connected with {session} session");
            for property in properties.iter() {
                eprintln!("  {property:?}");
            }
        }
        ConnectionEvent::Disconnected {
            error,
            was_connected,
            retry_after,
        } => {
            let what = if *was_connected {
                "disconnected"
            } else {
                "not connected"
            };
            match retry_after {
                Some(delay) => eprintln!("{what}: {error}; next attempt in {delay:?}"),
                None => eprintln!("{what}: {error}"),
            }
        }
        ConnectionEvent::SubscriptionLost { filter, .. } => {
            eprintln!("the server no longer grants {filter}");
        }
        _ => {}
    }
}

pub(crate) fn parse_version(text: &str) -> Result<ProtocolVersion, String> {
    match text {
        "5" | "50" | "5.0" | "mqttv5" => Ok(ProtocolVersion::V5),
        "311" | "3.1.1" | "4" | "mqttv311" => Ok(ProtocolVersion::V311),
        "31" | "3.1" | "3" | "mqttv31" => Ok(ProtocolVersion::V31),
        _ => Err("not one of 5, 311, 31".into()),
    }
}

/// Reads a QoS.
pub(crate) fn parse_qos(text: &str) -> Result<QoS, String> {
    let number = text.parse().ok().and_then(QoS::from_u8);
    number.ok_or_else(|| "not one of 0, 1, 2".into())
}

/// Returns whether standard output is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    #[command(disable_help_flag = true)]
    struct Line {
        #[command(flatten)]
        connection: Connection,
    }

    fn parse(line: &str) -> Connection {
        let arguments = std::iter::once("test").chain(line.split_whitespace());
        Line::try_parse_from(arguments).unwrap().connection
    }

    fn prepare(line: &str) -> Result<Prepared, Failure> {
        prepare_in(line, &[])
    }

    fn prepare_in(line: &str, variables: &[(&str, &str)]) -> Result<Prepared, Failure> {
        let environment = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        parse(line).prepare_in("test", Limits::default(), &environment)
    }

    #[test]
    fn the_server_is_named_by_host_and_port_or_by_url() {
        for (line, endpoint, topic) in [
            ("", "mqtt://localhost:1883", None),
            ("-h broker -p 99", "mqtt://broker:99", None),
            ("-h ::1", "mqtt://[::1]:1883", None),
            ("-h broker --tls", "mqtts://broker:8883", None),
            ("--cafile ca.pem -p 1884", "mqtts://localhost:1884", None),
            ("--insecure", "mqtts://localhost:8883", None),
            ("--alpn mqtt", "mqtts://localhost:8883", None),
            ("--unix /run/mqtt", "unix:/run/mqtt", None),
            ("--ws", "ws://localhost:8083/mqtt", None),
            ("--ws -h a -p 80", "ws://a:80/mqtt", None),
            ("--ws --tls -h a", "wss://a:8084/mqtt", None),
            ("--tls-version tlsv1.2 -h a", "mqtts://a:8883", None),
            ("--capath /etc/certs -h a", "mqtts://a:8883", None),
            (
                "-L mqtt://ann:pw@broker/a/b",
                "mqtt://broker:1883",
                Some("a/b"),
            ),
            ("-L mqtt://broker:99", "mqtt://broker:99", None),
            ("-L mqtts://broker/a", "mqtts://broker:8883", Some("a")),
            ("-L wss://broker", "wss://broker:8084/mqtt", None),
            ("-L ws://broker/a", "ws://broker:8083/a", None),
            ("-L unix:/run/mqtt", "unix:/run/mqtt", None),
        ] {
            let prepared = prepare(line).unwrap();
            assert_eq!(prepared.server.to_string(), endpoint, "{line}");
            assert_eq!(prepared.topic.as_deref(), topic, "{line}");
        }
    }

    #[test]
    fn options_win_over_the_environment() {
        let variables = [
            ("MQTTSTACK_HOST", "other"),
            ("MQTTSTACK_PORT", "99"),
            ("MQTTSTACK_PROXY", "no proxy"),
        ];
        let all = &variables[..];
        let named = &variables[..2];
        for (line, variables, server) in [
            ("", named, "mqtt://other:99"),
            ("-h broker", named, "mqtt://broker:99"),
            ("-p 1884", named, "mqtt://other:1884"),
            ("--ws", named, "ws://other:99/mqtt"),
            ("-L mqtt://broker", named, "mqtt://broker:1883"),
            ("-L wss://broker", named, "wss://broker:8084/mqtt"),
            ("--unix /run/mqtt", all, "unix:/run/mqtt"),
            ("-L unix:/run/mqtt", all, "unix:/run/mqtt"),
            (
                "",
                &[("MQTTSTACK_HOST", ""), ("MQTTSTACK_PORT", "")],
                "mqtt://localhost:1883",
            ),
            // Nobody asks for the port.
            (
                "-p 1884",
                &[("MQTTSTACK_PORT", "x")],
                "mqtt://localhost:1884",
            ),
        ] {
            let prepared = prepare_in(line, variables).unwrap();
            assert_eq!(prepared.server.to_string(), server, "{line}");
        }
        let refused = prepare_in("", &[("MQTTSTACK_PORT", "x")]).err().unwrap();
        assert_eq!(refused.code, 1);
    }

    #[test]
    fn a_proxy_is_for_servers_that_others_may_be_on_the_way_to() {
        let proxy = |line, variables: &[(&str, &str)]| {
            let environment = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let connection = parse(line);
            let (url, _) = connection.url(&environment)?;
            connection.proxy(&url, &environment)
        };
        let variable = &[("MQTTSTACK_PROXY", "http://a")][..];
        for (line, variables, found) in [
            ("", &[][..], None),
            ("", variable, Some("http://a")),
            ("", &[("MQTTSTACK_PROXY", "")], None),
            ("--proxy socks5://b", variable, Some("socks5://b")),
            (
                "-L wss://c --proxy socks5://b",
                variable,
                Some("socks5://b"),
            ),
            ("--unix /run/mqtt", variable, None),
            ("-L unix:/run/mqtt", variable, None),
        ] {
            let proxy = proxy(line, variables).unwrap();
            assert_eq!(proxy.as_deref(), found, "{line}");
        }
        let refused = proxy("-L UNIX:/run/mqtt --proxy http://b", &[]);
        assert_eq!(refused.err().map(|failure| failure.code), Some(1));
        let line = ["test", "--unix", "/run/mqtt", "--proxy", "http://b"];
        assert!(Line::try_parse_from(line).is_err());
    }

    #[test]
    fn the_window_is_what_mosquitto_calls_the_inflight_maximum() {
        for (line, expected) in [("", 256), ("-M 7", 7), ("--max-inflight 0", u16::MAX)] {
            let mut limits = Limits::default();
            parse(line).bound(&mut limits);
            assert_eq!(limits.inflight_max, expected, "{line}");
        }
    }

    #[test]
    fn versions_have_the_names_that_mosquitto_gives_them() {
        for (text, version) in [
            ("mqttv31", ProtocolVersion::V31),
            ("31", ProtocolVersion::V31),
            ("mqttv311", ProtocolVersion::V311),
            ("311", ProtocolVersion::V311),
            ("mqttv5", ProtocolVersion::V5),
            ("5", ProtocolVersion::V5),
        ] {
            assert_eq!(parse(&format!("-V {text}")).protocol_version, version);
        }
        assert!(parse_version("6").is_err());
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for line in [
            "-c",
            "-V 311 -D connect user-property a b",
            "-D will content-type a",
            "-L broker:1883",
            "-L http://broker",
        ] {
            assert_eq!(
                prepare(line).err().map(|failure| failure.code),
                Some(1),
                "{line}"
            );
        }
        assert!(prepare("-c -i me").is_ok());
        assert!(prepare("-c -I me").is_ok());
    }

    #[test]
    fn a_client_identifier_that_is_made_up_fits_every_server() {
        let id = parse("").client_id("sub").unwrap();
        assert!(id.len() <= 23, "{id}");
        assert_ne!(id, parse("").client_id("sub").unwrap());
        let id = parse("-I x-").client_id("sub").unwrap();
        assert_eq!(id, format!("x-{}", process::id()));
    }

    #[test]
    fn the_password_is_the_first_line_of_its_file() {
        let file = std::env::temp_dir().join(format!("mqttstack-password-{}", process::id()));
        fs::write(&file, "se cret\r\nsecond").unwrap();
        let mut connection = parse("");
        connection.password_file = Some(file.clone());
        assert_eq!(
            connection.password().unwrap().as_deref(),
            Some(&b"se cret"[..])
        );
        fs::remove_file(file).unwrap();
    }
}
