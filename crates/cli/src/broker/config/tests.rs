//! What the configuration takes, and what it says of the rest.

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
    assert_eq!(addresses, ["mqtt://127.0.0.1:1883"]);
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
        (config.broker.workers.map(|it| it.0), config.log.level),
        (Some(2), Level::Warn)
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
        ("[[listener]]\naddress = \"http://a\"", "is not a scheme"),
        (
            "[[listener]]\naddress = \"mqtts://a\"\ntls.cert = \"x\"",
            "unknown field `cert`",
        ),
        ("[tls]\ncrl = 1", "a text, or a list"),
        (
            "[tls]\nclient_certificates = \"yes\"",
            "expected one of `none`",
        ),
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

#[test]
fn a_list_cannot_come_from_the_environment() {
    let name = "MQTTSTACK_LISTENER__ADDRESS".to_owned();
    let error = Config::load(None, [(name.clone(), "127.0.0.1:1884".to_owned())])
        .expect_err("a list")
        .to_string();
    assert!(
        error.contains(&name) && error.contains("--listen"),
        "{error}"
    );
}

#[test]
fn a_setting_with_one_underscore_is_noticed() {
    for (name, is_overlooked) in [
        ("MQTTSTACK_LIMITS_INFLIGHT_MAX", true),
        ("MQTTSTACK_LOG_LEVEL", true),
        ("MQTTSTACK_LISTENER_ADDRESS", true),
        ("MQTTSTACK_LOG__LEVEL", false),
        ("MQTTSTACK_CONFIG", false),
        ("MQTTSTACK_PASSWORD_FILE", false),
        ("LIMITS_INFLIGHT_MAX", false),
    ] {
        let config = Config::load(None, [(name.to_owned(), "info".to_owned())]);
        let overlooked = config.expect("valid").overlooked;
        assert_eq!(overlooked.iter().any(|seen| seen == name), is_overlooked);
    }
}

#[test]
fn paths_in_a_file_are_relative_to_the_file() {
    let directory = std::env::temp_dir().join(format!("mqttstack-config-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    let file = directory.join("mqttstack.toml");
    let text = r#"
        [tls]
        certificate = "all.crt"
        key = "/etc/all.key"
        [[listener]]
        address = "mqtts://127.0.0.1"
        tls.ca = "clients/ca.crt"
    "#;
    fs::write(&file, text).expect("written");
    let environment = [("MQTTSTACK_TLS__CA".to_owned(), "elsewhere.crt".to_owned())];
    let config = Config::load(Some(&file), environment).expect("valid");
    fs::remove_dir_all(&directory).expect("removed");
    assert_eq!(config.tls.certificate, Some(directory.join("all.crt")));
    assert_eq!(config.tls.key, Some("/etc/all.key".into()));
    assert_eq!(config.tls.ca, Some("elsewhere.crt".into()));
    let ca = config.listener[0].tls.ca.clone();
    assert_eq!(ca, Some(directory.join("clients/ca.crt")));
}

#[test]
fn the_keep_alive_of_a_listener_is_checked_with_that_of_all() {
    let directory = std::env::temp_dir().join(format!("mqttstack-alive-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    let file = directory.join("mqttstack.toml");
    let text = r#"
        [limits]
        keep_alive_max = 30
        [[listener]]
        address = "127.0.0.1:1883"
        limits.keep_alive_min = 60
    "#;
    fs::write(&file, text).expect("written");
    let error = Config::load(Some(&file), []).expect_err("a contradiction");
    fs::remove_dir_all(&directory).expect("removed");
    assert!(error.to_string().contains("keep_alive_min = 60"), "{error}");
}
