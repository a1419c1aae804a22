//! What listeners take, what they refuse, and what they say of it.

use super::*;

fn listener(text: &str) -> Listener {
    toml::from_str(text).expect(text)
}

fn check(text: &str, defaults: &str) -> Result<(), ListenerError> {
    listener(text).check(&toml::from_str(defaults).expect(defaults))
}

#[test]
fn only_loopback_needs_no_explicit_word() {
    const ANONYMOUS: &str = "allow_anonymous = true\n";
    const PLAINTEXT: &str = "allow_plaintext = true\n";
    const CERTIFIED: &str = "tls.client_certificates = \"required\"\n";
    const ASKED: &str = "tls.client_certificates = \"optional\"\n";
    for (address, more, is_accepted) in [
        ("127.0.0.1:1883", &[][..], true),
        ("mqtt://127.9.9.9", &[], true),
        ("ws://[::1]", &[], true),
        ("mqtts://localhost", &[], true),
        ("unix:/run/mqtt.sock", &[], true),
        ("0.0.0.0:1883", &[], false),
        ("0.0.0.0:1883", &[ANONYMOUS], false),
        ("0.0.0.0:1883", &[PLAINTEXT], false),
        ("0.0.0.0:1883", &[ANONYMOUS, PLAINTEXT], true),
        ("ws://[::]", &[ANONYMOUS], false),
        ("mqtts://0.0.0.0", &[], false),
        ("mqtts://0.0.0.0", &[ANONYMOUS], true),
        ("wss://broker.example", &[ANONYMOUS], true),
        ("mqtts://0.0.0.0", &[CERTIFIED], true),
        ("mqtts://0.0.0.0", &[ASKED], false),
    ] {
        let text = format!("address = \"{address}\"\n{}", more.concat());
        assert_eq!(check(&text, "").is_ok(), is_accepted, "{text}");
    }
    check(
        "address = \"mqtts://0.0.0.0\"",
        "client_certificates = \"required\"",
    )
    .expect("by [tls]");
}

#[test]
fn what_is_refused_says_where_and_what_to_do() {
    for (text, message, hint) in [
        (
            "address = \"mqtts://0.0.0.0\"",
            "mqtts://0.0.0.0:8883 is reached from other machines and has no credentials",
            "--allow-anonymous",
        ),
        (
            "address = \"0.0.0.0:1883\"\nallow_anonymous = true",
            "no encryption",
            "--allow-plaintext",
        ),
        (
            "address = \"127.0.0.1:1883\"\ntls.certificate = \"x\"",
            "mqtt://127.0.0.1:1883 has tls settings, but no TLS",
            "mqtts://",
        ),
        (
            "address = \"mqtts://127.0.0.1\"\nwebsocket.origins = \"https://a\"",
            "websocket settings, but no WebSocket",
            "http/1.1",
        ),
        (
            "address = \"127.0.0.1:1883\"\nmode = \"0660\"",
            "a mode, but no socket file",
            "unix:",
        ),
        (
            "address = \"unix:/s\"\ndevice = \"eth0\"",
            "settings of a port, but none",
            "device",
        ),
        (
            "address = \"unix:/s\"\ntcp_keep_alive = \"60s\"",
            "settings of a port, but none",
            "tcp",
        ),
        (
            "address = \"127.0.0.1:1883\"\ntcp_keep_alive_interval = \"60s\"",
            "tcp_keep_alive_interval, but no tcp_keep_alive",
            "tcp_keep_alive = ",
        ),
        (
            "address = \"127.0.0.1:1883\"\ntcp_keep_alive = \"1s\"\ntcp_keep_alive_interval = \"0s\"",
            "a tcp_keep_alive_interval of nothing",
            "1s",
        ),
        (
            "address = \"127.0.0.1:1883\"\ntcp_keep_alive = \"10h\"",
            "a time for probes that is too long",
            "9h",
        ),
        (
            "address = \"127.0.0.1:1883\"\nproxy.only = true",
            "proxy.only, but no proxies",
            "proxy.from",
        ),
        (
            "address = \"mqtts://127.0.0.1\"\ntls.watch_interval = \"1s\"",
            "a watch_interval of its own",
            "[tls]",
        ),
    ] {
        let error = check(text, "").expect_err(text);
        assert!(error.message.contains(message), "{text}: {error:?}");
        assert!(error.hint.contains(hint), "{text}: {error:?}");
    }
    let dispatching = "address = \"mqtts://127.0.0.1\"\nwebsocket.origins = \"https://a\"\n";
    check(
        &format!("{dispatching}tls.alpn = [\"mqtt\", \"http/1.1\"]"),
        "",
    )
    .expect("offers it");
    check(dispatching, "alpn = [\"mqtt\", \"http/1.1\"]").expect("all of them do");
}

#[test]
fn what_cannot_be_prepared_says_where_and_what_to_do() {
    for (text, message, hint) in [
        (
            "address = \"mqtts://127.0.0.1:0\"",
            "the listener mqtts://127.0.0.1:0: ",
            "mqttstack certs",
        ),
        (
            "address = \"wss://127.0.0.1:0\"\ntls.certificate = \"/nowhere/s.crt\"\ntls.key = \"k\"",
            "cannot read /nowhere/s.crt",
            "PEM",
        ),
        (
            "address = \"127.0.0.1:0\"\nproxy.from = \"10.0.0.0/99\"",
            "trusts `10.0.0.0/99`, which is no network",
            "10.0.0.0/8",
        ),
    ] {
        let prepared = listener(text).prepare(&TlsSettings::default(), &Limits::default());
        let error = prepared.err().expect(text);
        assert!(error.message.contains(message), "{text}: {error:?}");
        assert!(error.hint.contains(hint), "{text}: {error:?}");
    }
}

#[test]
fn a_listener_takes_from_the_section_what_it_does_not_say() {
    let defaults: TlsSettings = toml::from_str(
        r#"
        certificate = "all.crt"
        key = "all.key"
        ca = "ca.crt"
        crl = "ca.crl"
        client_certificates = "optional"
        version_min = "1.3"
        "#,
    )
    .expect("valid");
    let text = r#"
        address = "mqtts://127.0.0.1"
        tls.certificate = "own.crt"
        tls.key = "own.key"
        tls.client_certificates = "required"
        limits.packet_size_max = "1KiB"
        proxy.from = ["10.0.0.0/8", "192.0.2.7", "unix"]
    "#;
    let listener = listener(text);
    let tls = listener.tls.over(&defaults);
    assert_eq!(tls.certificate, Some("own.crt".into()));
    assert_eq!(tls.key, Some("own.key".into()));
    assert_eq!(tls.ca, Some("ca.crt".into()));
    assert_eq!(tls.crl, Some(vec!["ca.crl".into()]));
    assert_eq!(tls.client_certificates, Some(ClientCertificates::Required));
    assert!(matches!(tls.version_min, Some(VersionSetting::V1_3)));
    let all = Limits {
        packet_size_max: 9_999,
        receive_maximum: 7,
        ..Limits::default()
    };
    let limits = listener.limits.over(all);
    assert_eq!((limits.packet_size_max, limits.receive_maximum), (1_024, 7));
    assert!(listener.proxy().expect("networks").is_some());
    // A certificate without its key is not completed by the key of another.
    let half: TlsSettings = toml::from_str("certificate = \"own.crt\"").expect("valid");
    assert_eq!(half.over(&defaults).key, None);
}

#[test]
fn a_certificate_of_its_own_comes_without_those_of_the_section() {
    let defaults: TlsSettings = toml::from_str(
        r#"
        certificate = "all.crt"
        key = "all.key"
        more_certificates = [{ certificate = "more.crt", key = "more.key" }]
        "#,
    )
    .expect("valid");
    for (text, shown, more) in [
        ("", "all.crt", &["more.crt"][..]),
        (
            "certificate = \"own.crt\"\nkey = \"own.key\"",
            "own.crt",
            &[],
        ),
        (
            "more_certificates = [{ certificate = \"b.crt\", key = \"b.key\" }]",
            "all.crt",
            &["b.crt"],
        ),
        (
            "certificate = \"own.crt\"\nkey = \"own.key\"\n\
             more_certificates = [{ certificate = \"b.crt\", key = \"b.key\" }]",
            "own.crt",
            &["b.crt"],
        ),
    ] {
        let tls: TlsSettings = toml::from_str(text).expect(text);
        let tls = tls.over(&defaults);
        assert_eq!(tls.certificate, Some(shown.into()), "{text}");
        let found = tls.more_certificates.iter();
        let found: Vec<_> = found.filter_map(|one| one.certificate.to_str()).collect();
        assert_eq!(found, more, "{text}");
    }
}

#[test]
fn revocation_is_strict_unless_somebody_says_otherwise() {
    let defaults: TlsSettings = toml::from_str("crl_expired = \"accept\"").expect("valid");
    for (text, expected) in [
        ("", [true, false, true]),
        ("crl_expired = \"refuse\"", [true, true, true]),
        ("crl_checks = \"client\"", [false, false, true]),
        (
            "crl_checks = \"chain\"\ncrl_unknown = \"accept\"",
            [true, false, false],
        ),
    ] {
        let tls: TlsSettings = toml::from_str(text).expect(text);
        let policy = tls.over(&defaults).revocation();
        let found = [
            policy.checks_chain,
            policy.refuses_expired_lists,
            policy.refuses_unknown,
        ];
        assert_eq!(found, expected, "{text}");
    }
    assert_eq!(
        TlsSettings::default().revocation(),
        RevocationPolicy::default()
    );
    let error = toml::from_str::<TlsSettings>("crl_expired = \"maybe\"").unwrap_err();
    assert!(error.to_string().contains("refuse"), "{error}");
}

#[test]
fn a_listener_says_how_the_system_treats_its_connections() {
    let found = listener(
        r#"
        address = "127.0.0.1:0"
        backlog = 7
        tcp_keep_alive = "2m"
        tcp_keep_alive_interval = "20s"
        tcp_no_delay = false
        send_buffer = "64KiB"
        receive_buffer = "1MiB"
        "#,
    );
    let options = found.listen_options();
    assert_eq!(options.backlog, 7);
    let keep_alive = options.tcp.keep_alive.expect("set");
    assert_eq!(keep_alive.idle, Duration::from_secs(120));
    assert_eq!(keep_alive.interval, Duration::from_secs(20));
    assert!(!options.tcp.no_delay);
    assert_eq!(options.tcp.send_buffer_bytes, Some(65_536));
    assert_eq!(options.tcp.receive_buffer_bytes, Some(1_048_576));
    let plain = listener("address = \"127.0.0.1:0\"\ntcp_keep_alive = \"0s\"");
    assert_eq!(plain.listen_options(), ListenOptions::default());
    for size in ["\"1KiB\"", "\"2GiB\"", "65536"] {
        let text = format!("address = \"127.0.0.1:0\"\nsend_buffer = {size}");
        toml::from_str::<Listener>(&text).expect_err(size);
    }
}

#[test]
fn the_mode_of_a_socket_is_written_as_chmod_takes_it() {
    let with = |mode: &str| {
        toml::from_str::<Listener>(&format!("address = \"unix:/s\"\nmode = {mode}"))
            .map(|listener| listener.mode)
            .map_err(|error| error.to_string())
    };
    assert_eq!(with("\"0660\""), Ok(Some(0o660)));
    for wrong in ["\"0999\"", "\"rw\"", "\"1777\"", "\"\""] {
        let error = with(wrong).expect_err(wrong);
        assert!(error.contains("is not a mode such as"), "{error}");
    }
}
