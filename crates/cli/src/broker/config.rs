//! The configuration of the broker: defaults, then the file, then the environment.

use std::{fs, path::Path};

use mqttstack_broker::{
    codec::QoS,
    limits::{BrokerLimits, Limits, Overflow},
    transport::Endpoint,
};
use serde::{Deserialize, Deserializer};
use toml::{Table, Value};

use super::units::{Size, Time};

/// Settings from the environment begin with this: `MQTTSTACK_LIMITS__INFLIGHT_MAX=20`.
const PREFIX: &str = "MQTTSTACK_";

/// The whole configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Config {
    /// Where to listen.
    pub(super) listener: Vec<Listener>,
    /// What each connection and its session may use.
    pub(super) limits: LimitSettings,
    /// What all clients together may use, and how the broker works.
    pub(super) broker: BrokerSettings,
    /// What is logged.
    pub(super) log: LogSettings,
}

impl Default for Config {
    fn default() -> Self {
        let address = Endpoint::new("127.0.0.1", 1883)
            .into_iter()
            .collect::<Vec<_>>();
        Self {
            listener: address.into_iter().map(Listener::new).collect(),
            limits: LimitSettings::default(),
            broker: BrokerSettings::default(),
            log: LogSettings::default(),
        }
    }
}

/// One address to listen on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    /// Host and port.
    #[serde(deserialize_with = "endpoint")]
    pub(super) address: Endpoint,
    /// Whether clients from other machines may come without credentials.
    #[serde(default)]
    pub(super) allow_anonymous: bool,
    /// Whether clients from other machines may come without encryption.
    #[serde(default)]
    pub(super) allow_plaintext: bool,
}

impl Listener {
    pub(super) fn new(address: Endpoint) -> Self {
        Self {
            address,
            allow_anonymous: false,
            allow_plaintext: false,
        }
    }
}

fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Endpoint, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|error| serde::de::Error::custom(format!("{text:?}: {error}")))
}

/// What is logged.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LogSettings {
    /// The least severe level that is written: error, warn, info, debug, trace.
    pub(super) level: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
        }
    }
}

/// How the broker works, and what all clients together may use. Names, defaults and meanings are
/// those of `BrokerLimits`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BrokerSettings {
    /// The number of worker threads, 1 to 255.
    pub(super) workers: u8,
    /// Whether 3.x clients may say that they are bridges.
    pub(super) accept_bridges: bool,
    connections_max: Option<u32>,
    pending_connections_max: Option<u32>,
    sessions_max: Option<u32>,
    retained_messages_max: Option<u32>,
    retained_bytes_max: Option<Size>,
}

impl Default for BrokerSettings {
    fn default() -> Self {
        Self {
            workers: 1,
            accept_bridges: false,
            connections_max: None,
            pending_connections_max: None,
            sessions_max: None,
            retained_messages_max: None,
            retained_bytes_max: None,
        }
    }
}

impl BrokerSettings {
    pub(super) fn to_limits(&self) -> BrokerLimits {
        let mut limits = BrokerLimits::default();
        set(&mut limits.connections_max, self.connections_max);
        set(
            &mut limits.pending_connections_max,
            self.pending_connections_max,
        );
        set(&mut limits.sessions_max, self.sessions_max);
        set(
            &mut limits.retained_messages_max,
            self.retained_messages_max,
        );
        set(
            &mut limits.retained_bytes_max,
            self.retained_bytes_max.map(|size| size.0),
        );
        limits
    }
}

/// What each connection and its session may use. Names, defaults and meanings are those of
/// `Limits`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitSettings {
    connect_timeout: Option<Time>,
    connect_packet_size_max: Option<Size>,
    packet_size_max: Option<Size>,
    payload_size_max: Option<Size>,
    user_properties_max: Option<u32>,
    client_id_bytes_max: Option<u16>,
    topic_levels_max: Option<u8>,
    refuse_discouraged: Option<bool>,
    keep_alive_min: Option<u16>,
    keep_alive_max: Option<u16>,
    session_expiry_max: Option<Time>,
    receive_maximum: Option<u16>,
    inflight_max: Option<u16>,
    inflight_bytes_max: Option<Size>,
    topic_alias_maximum: Option<u16>,
    topic_aliases_used_max: Option<u16>,
    queue_messages_max: Option<u32>,
    queue_bytes_max: Option<Size>,
    overflow: Option<OverflowSetting>,
    output_bytes_max: Option<Size>,
    response_bytes_max: Option<Size>,
    subscriptions_max: Option<u32>,
    maximum_qos: Option<QosSetting>,
    retain_available: Option<bool>,
    wildcard_subscriptions: Option<bool>,
    shared_subscriptions: Option<bool>,
    subscription_identifiers: Option<bool>,
}

impl LimitSettings {
    pub(super) fn to_limits(&self) -> Limits {
        let mut limits = Limits::default();
        set(
            &mut limits.connect_timeout,
            self.connect_timeout.map(|time| time.0),
        );
        set(
            &mut limits.connect_packet_size_max,
            self.connect_packet_size_max.map(bytes),
        );
        set(&mut limits.packet_size_max, self.packet_size_max.map(bytes));
        set(
            &mut limits.payload_size_max,
            self.payload_size_max.map(bytes),
        );
        set(&mut limits.user_properties_max, self.user_properties_max);
        set(&mut limits.client_id_bytes_max, self.client_id_bytes_max);
        set(&mut limits.topic_levels_max, self.topic_levels_max);
        set(&mut limits.refuse_discouraged, self.refuse_discouraged);
        set(&mut limits.keep_alive_min, self.keep_alive_min);
        set(&mut limits.keep_alive_max, self.keep_alive_max);
        set(
            &mut limits.session_expiry_max,
            self.session_expiry_max.map(seconds),
        );
        set(&mut limits.receive_maximum, self.receive_maximum);
        set(&mut limits.inflight_max, self.inflight_max);
        set(
            &mut limits.inflight_bytes_max,
            self.inflight_bytes_max.map(|size| size.0),
        );
        set(&mut limits.topic_alias_maximum, self.topic_alias_maximum);
        set(
            &mut limits.topic_aliases_used_max,
            self.topic_aliases_used_max,
        );
        set(&mut limits.queue_messages_max, self.queue_messages_max);
        set(
            &mut limits.queue_bytes_max,
            self.queue_bytes_max.map(|size| size.0),
        );
        set(&mut limits.overflow, self.overflow.map(Into::into));
        set(
            &mut limits.response_bytes_max,
            self.response_bytes_max.map(bytes),
        );
        set(
            &mut limits.output_bytes_max,
            self.output_bytes_max.map(bytes),
        );
        set(&mut limits.subscriptions_max, self.subscriptions_max);
        set(&mut limits.maximum_qos, self.maximum_qos.map(|qos| qos.0));
        set(&mut limits.retain_available, self.retain_available);
        set(
            &mut limits.wildcard_subscriptions,
            self.wildcard_subscriptions,
        );
        set(&mut limits.shared_subscriptions, self.shared_subscriptions);
        set(
            &mut limits.subscription_identifiers,
            self.subscription_identifiers,
        );
        limits
    }
}

fn set<T>(limit: &mut T, setting: Option<T>) {
    if let Some(value) = setting {
        *limit = value;
    }
}

/// More than the protocol can express is as much as it can express.
fn bytes(size: Size) -> u32 {
    u32::try_from(size.0).unwrap_or(u32::MAX)
}

fn seconds(time: Time) -> u32 {
    u32::try_from(time.0.as_secs()).unwrap_or(u32::MAX)
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OverflowSetting {
    DropOldest,
    DropNewest,
    EndSession,
}

impl From<OverflowSetting> for Overflow {
    fn from(setting: OverflowSetting) -> Self {
        match setting {
            OverflowSetting::DropOldest => Self::DropOldest,
            OverflowSetting::DropNewest => Self::DropNewest,
            OverflowSetting::EndSession => Self::EndSession,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct QosSetting(QoS);

impl<'de> Deserialize<'de> for QosSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        QoS::from_u8(number)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom(format!("QoS {number} is not 0, 1 or 2")))
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {file}: {error}")]
    Read { file: String, error: std::io::Error },
    /// The file is not what it should be.
    #[error("configuration {file}:\n{error}")]
    File {
        file: String,
        error: toml::de::Error,
    },
    /// A setting from the environment is not what it should be.
    #[error("settings from the environment ({names}): {error}")]
    Environment { names: String, error: String },
}

impl Config {
    /// Reads the file, if there is one, and lays the environment over it.
    pub(super) fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut table = Table::new();
        if let Some(path) = file {
            let file = path.display().to_string();
            let text = fs::read_to_string(path).map_err(|error| ConfigError::Read {
                file: file.clone(),
                error,
            })?;
            let wrong = |error| ConfigError::File {
                file: file.clone(),
                error,
            };
            // By itself first: errors then say where in the file they are.
            toml::from_str::<Self>(&text).map_err(wrong)?;
            table = toml::from_str(&text).map_err(wrong)?;
        }
        let names = overlay(&mut table, environment);
        Self::deserialize(Value::Table(table)).map_err(|error| ConfigError::Environment {
            names: names.join(", "),
            error: error.to_string(),
        })
    }
}

/// Puts `MQTTSTACK_SECTION__KEY` variables into the table, and returns their names. A variable
/// without `__` is not a setting.
fn overlay(
    table: &mut Table,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Vec<String> {
    let mut names = Vec::new();
    for (name, text) in environment {
        let Some(setting) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let Some((section, key)) = setting.split_once("__") else {
            continue;
        };
        let section = table
            .entry(section.to_ascii_lowercase())
            .or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(section) = section {
            section.insert(key.to_ascii_lowercase(), value(text));
            names.push(name);
        }
    }
    names
}

/// Numbers and booleans are taken as such, everything else as text.
fn value(text: String) -> Value {
    match (text.parse::<i64>(), text.parse::<bool>()) {
        (Ok(number), _) => Value::Integer(number),
        (_, Ok(boolean)) => Value::Boolean(boolean),
        _ => Value::String(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_word_it_listens_on_loopback_only() {
        let config = Config::load(None, []).expect("the defaults are valid");
        let addresses: Vec<String> = config
            .listener
            .iter()
            .map(|listener| listener.address.to_string())
            .collect();
        assert_eq!(addresses, ["127.0.0.1:1883"]);
        assert_eq!(config.limits.to_limits(), Limits::default());
        assert_eq!(config.broker.to_limits(), BrokerLimits::default());
    }

    #[test]
    fn a_file_sets_what_it_names() {
        let config = parse(
            r#"
            [[listener]]
            address = "[::1]:1884"
            [limits]
            packet_size_max = "64KiB"
            connect_timeout = "3s"
            overflow = "drop_newest"
            maximum_qos = 1
            [broker]
            workers = 2
            retained_bytes_max = "1MiB"
            [log]
            level = "warn"
            "#,
        )
        .expect("valid");
        let limits = config.limits.to_limits();
        assert_eq!(limits.packet_size_max, 65_536);
        assert_eq!(limits.connect_timeout.as_secs(), 3);
        assert_eq!(limits.overflow, Overflow::DropNewest);
        assert_eq!(limits.maximum_qos, QoS::AtLeastOnce);
        assert_eq!(config.broker.to_limits().retained_bytes_max, 1 << 20);
        assert_eq!(
            (config.broker.workers, config.log.level.as_str()),
            (2, "warn")
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, expected) in [
            ("[limits]\npaket_size_max = \"1MiB\"", "paket_size_max"),
            ("[limits]\npacket_size_max = 5", "invalid type"),
            ("[limits]\nconnect_timeout = \"10\"", "not a time"),
            ("[[listener]]\naddress = \"1883\"", "1883"),
            ("[limits]\nmaximum_qos = 3", "QoS 3"),
            ("[nonsense]", "nonsense"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(
                error.contains(expected) && error.contains("line"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let environment = [
            ("MQTTSTACK_LIMITS__INFLIGHT_MAX", "20"),
            ("MQTTSTACK_LOG__LEVEL", "debug"),
            ("MQTTSTACK_BROKER__ACCEPT_BRIDGES", "true"),
            ("MQTTSTACK_CONFIG", "elsewhere"),
            ("OTHER__KEY", "x"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::load(None, environment).expect("valid");
        assert_eq!(config.limits.to_limits().inflight_max, 20);
        assert_eq!(config.log.level, "debug");
        assert!(config.broker.accept_bridges);
        let wrong = [("MQTTSTACK_LIMITS__NONSENSE".to_owned(), "1".to_owned())];
        let error = Config::load(None, wrong).expect_err("unknown").to_string();
        assert!(error.contains("MQTTSTACK_LIMITS__NONSENSE"), "{error}");
    }
}
