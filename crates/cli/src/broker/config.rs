//! The configuration of the broker: defaults, then the file, then the environment.

use std::{fs, path::Path};

use mqttstack_broker::{
    codec::QoS,
    limits::{BrokerLimits, Limits, Overflow},
};
use serde::{Deserialize, Deserializer};
use toml::{Table, Value};
use tracing::level_filters::LevelFilter;

use super::{
    listener::{Listener, TlsSettings},
    units::{Seconds, Size, Size32, Time, Within},
};

/// Settings from the environment begin with this: `MQTTSTACK_LIMITS__INFLIGHT_MAX=20`.
const PREFIX: &str = "MQTTSTACK_";
/// What comes behind it, in small letters.
const SECTIONS: [&str; 4] = ["tls", "limits", "broker", "log"];
/// A list, which no variable can express.
const LIST: &str = "listener";

/// The whole configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Config {
    /// Where to listen.
    pub(super) listener: Vec<Listener>,
    /// What TLS needs, for all listeners.
    pub(super) tls: TlsSettings,
    /// What each connection and its session may use.
    pub(super) limits: LimitSettings,
    /// What all clients together may use, and how the broker works.
    pub(super) broker: BrokerSettings,
    /// What is logged.
    pub(super) log: LogSettings,
    /// Variables that look like settings, but lack an underscore.
    #[serde(skip)]
    pub(super) overlooked: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        let address = "mqtt://127.0.0.1:1883".parse().into_iter();
        Self {
            listener: address.map(Listener::new).collect(),
            tls: TlsSettings::default(),
            limits: LimitSettings::default(),
            broker: BrokerSettings::default(),
            log: LogSettings::default(),
            overlooked: Vec::new(),
        }
    }
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
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BrokerSettings {
    /// The number of worker threads, 1 to 255; without it, one for each processor.
    pub(super) workers: Option<Within<u8, 1, 255>>,
    /// Whether 3.x clients may say that they are bridges.
    pub(super) accept_bridges: bool,
    pub(super) connections_max: Option<U32>,
    pending_connections_max: Option<U32>,
    pending_connections_per_address_max: Option<U32>,
    sessions_max: Option<U32>,
    retained_messages_max: Option<U32>,
    retained_bytes_max: Option<Size>,
    memory_bytes_max: Option<Size>,
    /// How often the state of the broker is published below `$SYS`; zero is never.
    pub(super) status_interval: Option<Time>,
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
            &mut limits.pending_connections_per_address_max,
            self.pending_connections_per_address_max
                .map(|number| number.0),
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
        set(
            &mut limits.memory_bytes_max,
            self.memory_bytes_max.map(|size| size.0),
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
    packet_timeout: Option<Time>,
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
    shared_subscriptions_max: Option<U32>,
    filter_bytes_max: Option<Size>,
    filters_per_packet_max: Option<U32>,
    maximum_qos: Option<QosSetting>,
    retain_available: Option<bool>,
    wildcard_subscriptions: Option<bool>,
    shared_subscriptions: Option<bool>,
    subscription_identifiers: Option<bool>,
}

impl LimitSettings {
    /// No keep alive is both long enough and short enough if the shortest is above the longest.
    fn check_keep_alive(&self, base: Limits) -> Result<(), ConfigError> {
        let Limits {
            keep_alive_min: min,
            keep_alive_max: max,
            ..
        } = self.over(base);
        if max != 0 && min > max {
            return Err(ConfigError::Contradiction(format!(
                "limits.keep_alive_min = {min} is above limits.keep_alive_max = {max}"
            )));
        }
        Ok(())
    }

    pub(super) fn to_limits(&self) -> Limits {
        self.over(Limits::default())
    }

    /// Lays these settings over limits that hold where they say nothing.
    pub(super) fn over(&self, mut limits: Limits) -> Limits {
        set(
            &mut limits.connect_timeout,
            self.connect_timeout.map(|time| time.0),
        );
        set(
            &mut limits.packet_timeout,
            self.packet_timeout.map(|time| time.0),
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
            &mut limits.shared_subscriptions_max,
            self.shared_subscriptions_max.map(|number| number.0),
        );
        set(
            &mut limits.filter_bytes_max,
            self.filter_bytes_max.map(|size| size.0),
        );
        set(
            &mut limits.filters_per_packet_max,
            self.filters_per_packet_max.map(|number| number.0),
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
pub(super) type U32 = Within<u32, 0, { u32::MAX }>;

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
    #[error("configuration {file}:\n{}", error.to_string().trim_end())]
    File {
        file: String,
        error: toml::de::Error,
    },
    /// A listener from the environment.
    #[error(
        "{0}: listeners cannot be set from the environment; \
         say --listen URL (or MQTTSTACK_LISTEN), or [[listener]] in the file"
    )]
    Listener(String),
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
            anchor_paths(&mut table, path.parent().unwrap_or(Path::new("")));
        }
        let Environment { names, overlooked } = Environment::overlay(&mut table, environment)?;
        let config =
            Self::deserialize(Value::Table(table)).map_err(|error| ConfigError::Environment {
                names: names.join(", "),
                error: error.to_string().trim_end().to_owned(),
            })?;
        config.limits.check_keep_alive(Limits::default())?;
        for listener in &config.listener {
            listener
                .limits
                .check_keep_alive(config.limits.to_limits())?;
        }
        Ok(Self {
            overlooked,
            ..config
        })
    }
}

/// Makes the paths of certificates and keys that a file names relative to the directory of the file:
/// a service is started wherever it pleases its manager.
fn anchor_paths(table: &mut Table, directory: &Path) {
    let listeners = table.get(LIST).and_then(Value::as_array).cloned();
    let mut listeners = listeners.unwrap_or_default();
    for listener in listeners.iter_mut().filter_map(Value::as_table_mut) {
        if let Some(tls) = listener.get_mut("tls") {
            anchor(tls, directory);
        }
    }
    if !listeners.is_empty() {
        table.insert(LIST.to_owned(), Value::Array(listeners));
    }
    if let Some(tls) = table.get_mut("tls") {
        anchor(tls, directory);
    }
}

/// Anchors all paths of a table of TLS.
fn anchor(tls: &mut Value, directory: &Path) {
    let Value::Table(tls) = tls else { return };
    for (key, value) in tls {
        match (&**key, value) {
            ("certificate" | "key" | "ca" | "crl", Value::String(path)) => {
                *path = directory.join(&*path).to_string_lossy().into_owned();
            }
            ("crl", Value::Array(paths)) => {
                for path in paths {
                    if let Value::String(path) = path {
                        *path = directory.join(&*path).to_string_lossy().into_owned();
                    }
                }
            }
            ("more_certificates", Value::Array(tables)) => {
                for table in tables {
                    anchor(table, directory);
                }
            }
            _ => {}
        }
    }
}

/// What the environment had to say.
#[derive(Default)]
struct Environment {
    /// The variables that are settings.
    names: Vec<String>,
    /// Those that look like settings, but are none.
    overlooked: Vec<String>,
}

impl Environment {
    /// Puts `MQTTSTACK_SECTION__KEY` variables into the table. A variable without `__` is not a
    /// setting: `MQTTSTACK_HOST` and others are for other commands.
    fn overlay(
        table: &mut Table,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut environment = Self::default();
        for (name, text) in variables {
            let Some(setting) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let setting = setting.to_ascii_lowercase();
            let Some((section, key)) = setting.split_once("__") else {
                if is_nearly_a_setting(&setting) {
                    environment.overlooked.push(name);
                }
                continue;
            };
            if section == LIST {
                return Err(ConfigError::Listener(name));
            }
            let section = table
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                section.insert(key.to_owned(), value(text));
                environment.names.push(name);
            }
        }
        Ok(environment)
    }
}

/// Whether one underscore follows a section, where two would make a setting.
fn is_nearly_a_setting(setting: &str) -> bool {
    let section = setting.split_once('_').map(|(section, _)| section);
    section.is_some_and(|section| section == LIST || SECTIONS.contains(&section))
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
mod tests;
