//! The configuration of the broker: defaults, then the file, then the environment.

use std::{fs, path::Path};

use mqttstack_broker::{
    codec::QoS,
    limits::{BrokerLimits, Limits, Overflow},
    transport::Endpoint,
};
use serde::{Deserialize, Deserializer};
use toml::{Table, Value};
use tracing::level_filters::LevelFilter;

use super::units::{Seconds, Size, Size32, Time, Within};

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
    /// The least severe level that is written.
    pub(super) level: Level,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: Level::Info }
    }
}

/// How severe a line of the log is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// How the broker works, and what all clients together may use. Names, defaults and meanings are
/// those of `BrokerLimits`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BrokerSettings {
    /// The number of worker threads, 1 to 255.
    pub(super) workers: Within<u8, 1, 255>,
    /// Whether 3.x clients may say that they are bridges.
    pub(super) accept_bridges: bool,
    connections_max: Option<U32>,
    pending_connections_max: Option<U32>,
    sessions_max: Option<U32>,
    retained_messages_max: Option<U32>,
    retained_bytes_max: Option<Size>,
}

impl Default for BrokerSettings {
    fn default() -> Self {
        Self {
            workers: Within(1),
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
        set(
            &mut limits.connections_max,
            self.connections_max.map(|number| number.0),
        );
        set(
            &mut limits.pending_connections_max,
            self.pending_connections_max.map(|number| number.0),
        );
        set(
            &mut limits.sessions_max,
            self.sessions_max.map(|number| number.0),
        );
        set(
            &mut limits.retained_messages_max,
            self.retained_messages_max.map(|number| number.0),
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
    connect_packet_size_max: Option<Size32>,
    packet_size_max: Option<Size32>,
    payload_size_max: Option<Size32>,
    user_properties_max: Option<U32>,
    client_id_bytes_max: Option<Within<u16, 23, 65_535>>,
    topic_levels_max: Option<Within<u8, 1, 255>>,
    refuse_discouraged: Option<bool>,
    keep_alive_min: Option<U16>,
    keep_alive_max: Option<U16>,
    session_expiry_max: Option<Seconds>,
    receive_maximum: Option<Within<u16, 1, 65_535>>,
    inflight_max: Option<Within<u16, 1, 65_535>>,
    inflight_bytes_max: Option<Size>,
    topic_alias_maximum: Option<U16>,
    topic_aliases_used_max: Option<U16>,
    queue_messages_max: Option<U32>,
    queue_bytes_max: Option<Size>,
    overflow: Option<OverflowSetting>,
    output_bytes_max: Option<Size32>,
    response_bytes_max: Option<Size32>,
    subscriptions_max: Option<U32>,
    maximum_qos: Option<QosSetting>,
    retain_available: Option<bool>,
    wildcard_subscriptions: Option<bool>,
    shared_subscriptions: Option<bool>,
    subscription_identifiers: Option<bool>,
}

impl LimitSettings {
    /// No keep alive is both long enough and short enough if the shortest is above the longest.
    fn check_keep_alive(&self) -> Result<(), ConfigError> {
        let Limits {
            keep_alive_min: min,
            keep_alive_max: max,
            ..
        } = self.to_limits();
        if max != 0 && min > max {
            return Err(ConfigError::Contradiction(format!(
                "limits.keep_alive_min = {min} is above limits.keep_alive_max = {max}"
            )));
        }
        Ok(())
    }

    pub(super) fn to_limits(&self) -> Limits {
        let mut limits = Limits::default();
        set(
            &mut limits.connect_timeout,
            self.connect_timeout.map(|time| time.0),
        );
        set(
            &mut limits.connect_packet_size_max,
            self.connect_packet_size_max.map(|size| size.0),
        );
        set(
            &mut limits.packet_size_max,
            self.packet_size_max.map(|size| size.0),
        );
        set(
            &mut limits.payload_size_max,
            self.payload_size_max.map(|size| size.0),
        );
        set(
            &mut limits.user_properties_max,
            self.user_properties_max.map(|number| number.0),
        );
        set(
            &mut limits.client_id_bytes_max,
            self.client_id_bytes_max.map(|number| number.0),
        );
        set(
            &mut limits.topic_levels_max,
            self.topic_levels_max.map(|number| number.0),
        );
        set(&mut limits.refuse_discouraged, self.refuse_discouraged);
        set(
            &mut limits.keep_alive_min,
            self.keep_alive_min.map(|number| number.0),
        );
        set(
            &mut limits.keep_alive_max,
            self.keep_alive_max.map(|number| number.0),
        );
        set(
            &mut limits.session_expiry_max,
            self.session_expiry_max.map(|time| time.0),
        );
        set(
            &mut limits.receive_maximum,
            self.receive_maximum.map(|number| number.0),
        );
        set(
            &mut limits.inflight_max,
            self.inflight_max.map(|number| number.0),
        );
        set(
            &mut limits.inflight_bytes_max,
            self.inflight_bytes_max.map(|size| size.0),
        );
        set(
            &mut limits.topic_alias_maximum,
            self.topic_alias_maximum.map(|number| number.0),
        );
        set(
            &mut limits.topic_aliases_used_max,
            self.topic_aliases_used_max.map(|number| number.0),
        );
        set(
            &mut limits.queue_messages_max,
            self.queue_messages_max.map(|number| number.0),
        );
        set(
            &mut limits.queue_bytes_max,
            self.queue_bytes_max.map(|size| size.0),
        );
        set(&mut limits.overflow, self.overflow.map(Into::into));
        set(
            &mut limits.response_bytes_max,
            self.response_bytes_max.map(|size| size.0),
        );
        set(
            &mut limits.output_bytes_max,
            self.output_bytes_max.map(|size| size.0),
        );
        set(
            &mut limits.subscriptions_max,
            self.subscriptions_max.map(|number| number.0),
        );
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

/// Any number that a limit of 16 bits takes.
type U16 = Within<u16, 0, { u16::MAX as u32 }>;
/// Any number that a limit of 32 bits takes.
type U32 = Within<u32, 0, { u32::MAX }>;

fn set<T>(limit: &mut T, setting: Option<T>) {
    if let Some(value) = setting {
        *limit = value;
    }
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
    /// Settings that are possible by themselves, but not together.
    #[error("{0}")]
    Contradiction(String),
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
        let config =
            Self::deserialize(Value::Table(table)).map_err(|error| ConfigError::Environment {
                names: names.join(", "),
                error: error.to_string(),
            })?;
        config.limits.check_keep_alive()?;
        Ok(config)
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
            (config.broker.workers.0, config.log.level),
            (2, Level::Warn)
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, expected) in [
            ("[limits]\npaket_size_max = \"1MiB\"", "paket_size_max"),
            (
                "[limits]\npacket_size_max = 5",
                "5 is not a size such as \"500B\"",
            ),
            ("[limits]\npacket_size_max = \"4GiB\"", "less than \"4GiB\""),
            ("[limits]\nsession_expiry_max = \"1500ms\"", "whole seconds"),
            ("[limits]\nsession_expiry_max = \"50000d\"", "4294967295"),
            (
                "[limits]\nreceive_maximum = 0",
                "0 is not a number from 1 to 65535",
            ),
            ("[limits]\ninflight_max = 70000", "from 1 to 65535"),
            ("[limits]\ntopic_levels_max = 0", "from 1 to 255"),
            ("[limits]\nclient_id_bytes_max = 22", "from 23 to 65535"),
            ("[limits]\nkeep_alive_max = -1", "from 0 to 65535"),
            ("[broker]\nsessions_max = \"many\"", "from 0 to 4294967295"),
            ("[broker]\nworkers = 0", "from 1 to 255"),
            ("[broker]\nworkers = 256", "from 1 to 255"),
            ("[log]\nlevel = \"verbose\"", "expected one of `error`"),
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
    fn a_setting_of_the_environment_is_named_with_its_key() {
        let wrong = [("MQTTSTACK_BROKER__WORKERS".to_owned(), "0".to_owned())];
        let error = Config::load(None, wrong).expect_err("none").to_string();
        assert!(error.contains("0 is not a number from 1 to 255"), "{error}");
        assert!(error.contains("workers"), "{error}");
    }

    #[test]
    fn the_shortest_keep_alive_is_not_above_the_longest() {
        for (min, max, is_valid) in [
            ("60", "30", false),
            ("60", "60", true),
            ("60", "0", true),
            ("0", "30", true),
        ] {
            let settings = [("MIN", min), ("MAX", max)].map(|(end, value)| {
                (
                    format!("MQTTSTACK_LIMITS__KEEP_ALIVE_{end}"),
                    value.to_owned(),
                )
            });
            let result = Config::load(None, settings);
            assert_eq!(result.is_ok(), is_valid, "{min} {max}");
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
        assert_eq!(config.log.level, Level::Debug);
        assert!(config.broker.accept_bridges);
        let wrong = [("MQTTSTACK_LIMITS__NONSENSE".to_owned(), "1".to_owned())];
        let error = Config::load(None, wrong).expect_err("unknown").to_string();
        assert!(error.contains("MQTTSTACK_LIMITS__NONSENSE"), "{error}");
    }
}
