//! Handshakes that succeed, and one for each way to fail.

use std::{fs, io, path::PathBuf, sync::Arc};

use proptest::prelude::*;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, SerialNumber, date_time_ymd,
};

use super::{test_authority::Authority, *};
use crate::{
    Handshake, OutputQueue, Stream, TransportError,
    memory::{Faults, MemoryStream, faulty_pair, pair},
    test_loop::Loop,
};

type Tls = TlsStream<MemoryStream>;

/// Turns both ends until each is established or has failed.
fn shake(near: &mut Tls, far: &mut Tls) -> [Result<Handshake, TransportError>; 2] {
    let (mut a, mut b) = (Ok(Handshake::Pending), Ok(Handshake::Pending));
    for _ in 0..100_000 {
        if a.is_ok() {
            a = near.handshake();
        }
        if b.is_ok() {
            b = far.handshake();
        }
        let is_settled = |end: &Result<_, _>| *end != Ok(Handshake::Pending);
        if is_settled(&a) && is_settled(&b) || a.is_err() && b.is_err() {
            return [a, b];
        }
    }
    [a, b]
}

/// Connects a client and a server over memory.
fn meet(
    client: &TlsClient,
    server: &TlsServer,
    host: &str,
) -> (Tls, Tls, [Result<Handshake, TransportError>; 2]) {
    let (near, far) = pair();
    let mut near = client.connect(near, host).unwrap();
    let mut far = server.accept(far);
    let results = shake(&mut near, &mut far);
    (near, far, results)
}

fn established(client: &TlsClient, server: &TlsServer) -> (Tls, Tls) {
    let (near, far, results) = meet(client, server, "localhost");
    assert_eq!(results, [Ok(Handshake::Complete), Ok(Handshake::Complete)]);
    (near, far)
}

fn load(server: TlsServerOptions, client: &TlsClientOptions) -> (TlsClient, TlsServer) {
    (
        TlsClient::load(client).unwrap(),
        TlsServer::load(server).unwrap(),
    )
}

/// Moves `bytes` across, and reads until they are there.
fn carry(from: &mut Tls, to: &mut Tls, bytes: &[u8]) -> Vec<u8> {
    let (mut queue, mut received, mut buffer) = (OutputQueue::new(), Vec::new(), [0; 700]);
    queue.push(bytes);
    while received.len() < bytes.len() {
        let _ = queue.write_to(from).unwrap();
        match to.read(&mut buffer) {
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    received
}

/// Reads once, and returns the failure.
fn failure(stream: &mut Tls) -> TransportError {
    stream.read(&mut [0; 64]).unwrap_err().into()
}

fn tls(error: TlsError) -> Result<Handshake, TransportError> {
    Err(error.into())
}

#[test]
fn both_versions_carry_bytes_and_say_what_they_are() {
    let authority = Authority::new();
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let (client, server) = load(authority.server(), &authority.client());
        let client = match version {
            TlsVersion::V1_3 => client,
            TlsVersion::V1_2 => {
                let mut roots = rustls::RootCertStore::empty();
                use rustls::pki_types::{CertificateDer, pem::PemObject as _};
                roots
                    .add(CertificateDer::from_pem_file(authority.ca()).unwrap())
                    .unwrap();
                let config = rustls::ClientConfig::builder_with_provider(files::provider())
                    .with_protocol_versions(&[&rustls::version::TLS12])
                    .unwrap()
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                TlsClient::from_config(Arc::new(config)) // The caller's own, as it is.
            }
        };
        let (mut near, mut far) = established(&client, &server);
        for stream in [&near, &far] {
            let facts = stream.peer().tls.as_deref().unwrap();
            assert_eq!(facts.version, version);
            assert_eq!(facts.server_name.as_deref(), Some("localhost"));
            assert_eq!(facts.protocol, None);
        }
        let seen = near
            .peer()
            .tls
            .as_ref()
            .unwrap()
            .certificate
            .as_ref()
            .unwrap();
        assert_eq!(seen.common_name.as_deref(), Some("server"));
        assert_eq!(seen.dns_names, ["localhost".into()]);
        let bytes: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        assert_eq!(carry(&mut near, &mut far, &bytes), bytes);
        assert_eq!(carry(&mut far, &mut near, &bytes), bytes);
    }
}

#[test]
fn a_connection_survives_any_faults() {
    let authority = Authority::new();
    let (client, server) = load(authority.server(), &authority.client());
    proptest!(ProptestConfig::with_cases(16), |(
        read_bytes_max in 1usize..200,
        write_bytes_max in 1usize..200,
        capacity_bytes in 50usize..3000,
        would_block_one_in in 2u32..5,
        seed: u64,
    )| {
        let faults = Faults {
            read_bytes_max, write_bytes_max, capacity_bytes, would_block_one_in, seed,
            ..Faults::default()
        };
        let (near, far) = faulty_pair(faults.clone(), faults);
        let mut near = client.connect(near, "localhost").unwrap();
        let mut far = server.accept(far);
        let results = shake(&mut near, &mut far);
        prop_assert_eq!(results, [Ok(Handshake::Complete), Ok(Handshake::Complete)]);
        let bytes = vec![seed as u8; 3000];
        // What the client's last flight still owes goes out with its first write.
        prop_assert_eq!(&carry(&mut near, &mut far, &bytes), &bytes);
        prop_assert_eq!(&carry(&mut far, &mut near, &bytes), &bytes);
    });
}

#[test]
fn the_best_common_protocol_is_chosen_and_none_in_common_is_an_error() {
    let authority = Authority::new();
    let names = |list: &[&str]| list.iter().map(|name| Box::from(*name)).collect();
    for (offered, chosen) in [
        (&["http/1.1", "mqtt"][..], Ok(Some("mqtt"))),
        (&["x-amzn-mqtt-ca"], Ok(Some("x-amzn-mqtt-ca"))),
        (&[], Ok(None)),
        (&["h2"], Err(TlsError::ProtocolMismatch)),
    ] {
        let server = TlsServerOptions {
            protocols: names(&["mqtt", "x-amzn-mqtt-ca", "http/1.1"]),
            ..authority.server()
        };
        let options = TlsClientOptions {
            protocols: names(offered),
            ..authority.client()
        };
        let (client, server) = load(server, &options);
        let (near, far, results) = meet(&client, &server, "localhost");
        match chosen {
            Ok(chosen) => {
                for stream in [near, far] {
                    let facts = stream.peer().tls.as_deref().unwrap();
                    assert_eq!(facts.protocol.as_deref(), chosen, "{offered:?}");
                }
            }
            Err(error) => assert_eq!(results, [tls(error.clone()), tls(error)]),
        }
    }
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let authority = Authority::new();
    let mut options = authority.server();
    options
        .certificates
        .push(authority.sign("wild", "*.example.com", |_| {}));
    options
        .certificates
        .push(authority.sign("exact", "a.example.org", |_| {}));
    let (client, server) = load(options, &authority.client());
    for (host, name) in [
        ("localhost", "server"),
        ("x.example.com", "wild"),
        ("x.example.com.", "wild"),
        ("A.example.org", "exact"),
    ] {
        let (near, _far, results) = meet(&client, &server, host);
        assert_eq!(results[0], Ok(Handshake::Complete), "{host}");
        let seen = near
            .peer()
            .tls
            .as_ref()
            .unwrap()
            .certificate
            .as_ref()
            .unwrap();
        assert_eq!(seen.common_name.as_deref(), Some(name));
    }
    // Nobody is called so: the first certificate serves, and the client does not take it.
    for host in ["x.y.example.com", "example.com", "127.0.0.1"] {
        let (_, _, results) = meet(&client, &server, host);
        let host = host.into();
        assert_eq!(results[0], tls(TlsError::HostMismatch { host }));
    }
}

#[test]
fn each_fault_of_a_servers_certificate_has_its_name() {
    let authority = Authority::new();
    let stranger = Authority::new();
    type Change = fn(&mut CertificateParams);
    let cases: [(&str, &Authority, Change, TlsError); 4] = [
        (
            "expired",
            &authority,
            |params| params.not_after = date_time_ymd(2020, 1, 1),
            TlsError::CertificateExpired,
        ),
        (
            "early",
            &authority,
            |params| params.not_before = date_time_ymd(2090, 1, 1),
            TlsError::CertificateNotYetValid,
        ),
        ("stranger", &stranger, |_| {}, TlsError::AuthorityUnknown),
        (
            "revoked",
            &authority,
            |params| params.serial_number = Some(SerialNumber::from(7)),
            TlsError::CertificateRevoked,
        ),
    ];
    for (name, signer, change, error) in cases {
        let files = signer.sign(name, "localhost", change);
        let options = TlsClientOptions {
            revocation_lists: if name == "revoked" {
                vec![authority.crl("crl", &[7])]
            } else {
                Vec::new()
            },
            ..authority.client()
        };
        let (client, server) = load(TlsServerOptions::new(files), &options);
        let (mut near, mut far, results) = meet(&client, &server, "localhost");
        assert_eq!(results[0], tls(error), "{name}");
        // The server learns that the client has refused.
        let refusal = results[1]
            .clone()
            .map_or_else(|error| error, |_| failure(&mut far));
        assert!(
            matches!(refusal, TransportError::Tls(TlsError::PeerRefused { .. })),
            "{refusal}"
        );
        assert_eq!(
            near.write(b"x").unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    }
    // And whoever asks for no check gets none.
    let files = stranger.sign("any", "elsewhere", |_| {});
    let options = TlsClientOptions {
        is_insecure: true,
        ..TlsClientOptions::default()
    };
    let (client, server) = load(TlsServerOptions::new(files), &options);
    established(&client, &server);
}

/// Holds the certificate of a client against revocation lists.
fn verdict(
    root: &Authority,
    client: &CertificateFiles,
    lists: &[PathBuf],
    revocation: RevocationPolicy,
) -> Result<(), TlsError> {
    let options = TlsClientOptions {
        certificate: Some(client.clone()),
        ..root.client()
    };
    let server = TlsServerOptions {
        revocation_lists: lists.to_vec(),
        revocation,
        ..root.mutual()
    };
    let (client, server) = load(server, &options);
    match meet(&client, &server, "localhost").2 {
        [_, Ok(_)] => Ok(()),
        [_, Err(TransportError::Tls(error))] => Err(error),
        [_, Err(error)] => panic!("{error}"),
    }
}

/// All that the strict policy refuses, but for one thing.
fn lenient_in(leave_out: fn(&mut RevocationPolicy)) -> RevocationPolicy {
    let mut policy = RevocationPolicy::default();
    leave_out(&mut policy);
    policy
}

#[test]
fn revocation_lists_vouch_for_the_whole_chain_and_while_they_are_in_force() {
    let root = Authority::new();
    let middle = root.below(5);
    let far = middle.sign("far", "far.example.com", |params| {
        params.serial_number = Some(SerialNumber::from(9));
    });
    let near = root.sign("near", "near.example.com", |params| {
        params.serial_number = Some(SerialNumber::from(9));
    });
    let of_root = root.crl("root", &[1]);
    let of_middle = middle.crl("middle", &[1]);
    let without_middle = root.crl("cut", &[5]);
    let without_far = middle.crl("gone", &[9]);
    let old = root.crl_until(2025, "old", &[1]);
    let leaf_only = lenient_in(|policy| policy.checks_chain = false);
    let any_age = lenient_in(|policy| policy.refuses_expired_lists = false);
    let known_only = lenient_in(|policy| policy.refuses_unknown = false);
    let unknown = || Err(TlsError::RevocationUnknown);
    let revoked = || Err(TlsError::CertificateRevoked);
    let expired = || Err(TlsError::RevocationListExpired);
    // The verdict by default, and that of a policy which differs in one thing.
    for (client, lists, strict, other, lenient) in [
        (&near, vec![&of_root], Ok(()), leaf_only, Ok(())),
        (&far, vec![&of_root, &of_middle], Ok(()), leaf_only, Ok(())),
        (&far, vec![&of_middle], unknown(), leaf_only, Ok(())),
        (
            &far,
            vec![&without_middle, &of_middle],
            revoked(),
            leaf_only,
            Ok(()),
        ),
        (
            &far,
            vec![&of_root, &without_far],
            revoked(),
            leaf_only,
            revoked(),
        ),
        (&near, vec![&old], expired(), any_age, Ok(())),
        (&far, vec![&old, &of_middle], expired(), any_age, Ok(())),
        (&far, vec![&old, &of_middle], expired(), leaf_only, Ok(())),
        (&near, vec![&of_middle], unknown(), known_only, Ok(())),
        (&far, vec![&of_root], unknown(), known_only, Ok(())),
        (
            &far,
            vec![&without_middle],
            revoked(),
            known_only,
            revoked(),
        ),
    ] {
        let lists: Vec<PathBuf> = lists.into_iter().cloned().collect();
        let found = verdict(&root, client, &lists, RevocationPolicy::default());
        assert_eq!(found, strict, "{lists:?}");
        assert_eq!(
            verdict(&root, client, &lists, other),
            lenient,
            "{lists:?}, {other:?}"
        );
    }
    // Clients hold servers to the same.
    for (revocation, result) in [(RevocationPolicy::default(), expired()), (any_age, Ok(()))] {
        let options = TlsClientOptions {
            revocation_lists: vec![old.clone()],
            revocation,
            ..root.client()
        };
        let (client, server) = load(root.server(), &options);
        let [met, _] = meet(&client, &server, "localhost").2;
        assert_eq!(met.map(|_| ()), result.map_err(TransportError::Tls));
    }
}

#[test]
fn whoever_is_in_a_directory_is_trusted() {
    let [one, two, stranger] = [(); 3].map(|()| Authority::new());
    let trusted = one.directory.join("trusted");
    fs::create_dir_all(trusted.join("more")).unwrap();
    let options = TlsClientOptions {
        authorities: Some(Authorities::Directory(trusted.clone())),
        ..TlsClientOptions::default()
    };
    let (path, item) = (trusted.clone(), "certificate");
    assert_eq!(
        TlsClient::load(&options).unwrap_err(),
        TlsConfigError::Missing { path, item }
    );
    let files = one.sign("one", "localhost", |_| {});
    for (name, from) in [
        ("a.pem", &one.ca()),
        ("5ed36f99.0", &two.ca()),
        ("key", &files.key),
    ] {
        fs::copy(from, trusted.join(name)).unwrap();
    }
    fs::write(trusted.join("README"), "no certificate").unwrap();
    let with_passphrase = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n\
                           -----END RSA PRIVATE KEY-----\n";
    fs::write(trusted.join("locked"), with_passphrase).unwrap();
    for (signer, result) in [
        (&one, Ok(Handshake::Complete)),
        (&two, Ok(Handshake::Complete)),
        (&stranger, tls(TlsError::AuthorityUnknown)),
    ] {
        let (client, server) = load(signer.server(), &options);
        let [met, _] = meet(&client, &server, "localhost").2;
        assert_eq!(met, result);
    }
}

#[test]
fn a_certificate_in_a_directory_that_is_damaged_is_an_error() {
    let one = Authority::new();
    let trusted = one.directory.join("trusted");
    fs::create_dir_all(&trusted).unwrap();
    fs::copy(one.ca(), trusted.join("a.pem")).unwrap();
    let damaged = fs::read_to_string(one.ca()).unwrap().replace('M', "!");
    let path = trusted.join("b.pem");
    fs::write(&path, damaged).unwrap();
    let options = TlsClientOptions {
        authorities: Some(Authorities::Directory(trusted)),
        ..TlsClientOptions::default()
    };
    assert_eq!(
        TlsClient::load(&options).unwrap_err(),
        TlsConfigError::NotPem { path }
    );
}

#[test]
#[cfg(unix)]
fn a_file_in_a_directory_that_may_not_be_read_is_passed_over() {
    use std::os::unix::fs::PermissionsExt as _;
    let one = Authority::new();
    let trusted = one.directory.join("trusted");
    fs::create_dir_all(&trusted).unwrap();
    let secret = trusted.join("ca.key");
    fs::write(&secret, "a key").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&secret).is_ok() {
        return; // This user may read anything.
    }
    let options = TlsClientOptions {
        authorities: Some(Authorities::Directory(trusted.clone())),
        ..TlsClientOptions::default()
    };
    let (path, kind) = (secret, io::ErrorKind::PermissionDenied);
    assert_eq!(
        TlsClient::load(&options).unwrap_err(),
        TlsConfigError::Unreadable { path, kind }
    );
    fs::copy(one.ca(), trusted.join("ca.crt")).unwrap();
    let (client, server) = load(one.server(), &options);
    established(&client, &server);
}

#[test]
fn who_is_no_authority_is_none_in_a_directory_either() {
    let one = Authority::new();
    let trusted = one.directory.join("trusted");
    fs::create_dir_all(&trusted).unwrap();
    let options = TlsClientOptions {
        authorities: Some(Authorities::Directory(trusted.clone())),
        ..TlsClientOptions::default()
    };
    type Change = fn(&mut CertificateParams);
    let plain: Change = |_| {};
    let not_meant_to: Change = |params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    };
    let told_not_to: Change = |params| params.is_ca = IsCa::ExplicitNoCa;
    // Ann has a certificate of an authority, or of her own making, and signs for a server with it.
    let cases: [(Change, bool, bool); 5] = [
        (plain, true, false),
        (told_not_to, true, false),
        (told_not_to, false, false),
        (not_meant_to, false, false),
        (plain, false, true),
    ];
    for (change, is_signed_by_one, is_trusted) in cases {
        fs::copy(one.ca(), trusted.join("ca.crt")).unwrap();
        let mut params = CertificateParams::default();
        change(&mut params);
        params.distinguished_name.push(DnType::CommonName, "ann");
        let key = KeyPair::generate().unwrap();
        let certificate = match is_signed_by_one {
            true => params.signed_by(&key, &one.issuer).unwrap(),
            false => params.self_signed(&key).unwrap(),
        };
        fs::write(trusted.join("client-ann.crt"), certificate.pem()).unwrap();
        let ann = Issuer::new(params, key);
        let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let forged = server.signed_by(&key, &ann).unwrap();
        let files = CertificateFiles::new(one.directory.join("f.crt"), one.directory.join("f.key"));
        fs::write(&files.chain, forged.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        let (client, server) = load(TlsServerOptions::new(files), &options);
        let [met, _] = meet(&client, &server, "localhost").2;
        let expected = match is_trusted {
            true => Ok(Handshake::Complete),
            false => tls(TlsError::AuthorityUnknown),
        };
        assert_eq!(met, expected);
    }
}

#[test]
fn a_session_that_failed_keeps_nothing_once_its_alert_has_left() {
    let authority = Authority::new();
    let (_, server) = load(authority.server(), &authority.client());
    let (mut near, far) = pair();
    let mut far = server.accept(far);
    // The beginning of a long message, and then a record of a kind that there is not.
    let mut bytes = vec![22, 3, 1, 0x40, 0, 1, 0, 0xFD, 0xE8, 3, 3];
    bytes.resize(5 + 0x4000, 0);
    bytes.extend([0xFF, 3, 1, 0, 1, 0]);
    let mut queue = OutputQueue::new();
    queue.push(&bytes);
    let failed = loop {
        let _ = queue.write_to(&mut near).unwrap();
        match far.handshake() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    far.shutdown().unwrap();
    assert!(far.session.is_ok());
    let _ = far.discard(&mut [0; 64]);
    assert!(far.session.is_err());
    assert_eq!(far.handshake().unwrap_err(), failed);
    let mut alert = [0; 16];
    assert_eq!(near.read(&mut alert).unwrap(), 7);
    assert_eq!(alert[0], crate::TLS_ALERT);
}

#[test]
fn a_clients_certificate_names_its_user() {
    let authority = Authority::new();
    let files = authority.sign("meter-7", "meter.example.com", |params| {
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Example");
        params
            .subject_alt_names
            .push(SanType::Rfc822Name("m@example.com".try_into().unwrap()));
        params
            .subject_alt_names
            .push(SanType::URI("urn:meter:7".try_into().unwrap()));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let options = TlsClientOptions {
        certificate: Some(files),
        ..authority.client()
    };
    let (client, server) = load(authority.mutual(), &options);
    for is_resumed in [false, true] {
        let (mut near, mut far) = established(&client, &server);
        let facts = far.peer().tls.as_deref().unwrap();
        assert_eq!(facts.is_resumed, is_resumed);
        let seen = facts.certificate.as_ref().unwrap();
        assert_eq!(seen.common_name.as_deref(), Some("meter-7"));
        assert!(seen.subject.contains("CN=meter-7") && seen.subject.contains("O=Example"));
        assert_eq!(seen.dns_names, ["meter.example.com".into()]);
        assert_eq!(seen.emails, ["m@example.com".into()]);
        assert_eq!(seen.uris, ["urn:meter:7".into()]);
        carry(&mut far, &mut near, b"x"); // Takes the tickets along.
    }
}

#[test]
fn a_common_name_that_is_no_name_is_none() {
    let authority = Authority::new();
    for name in ["", "a\nb", "a\0b"] {
        let files = authority.sign("odd", "odd.example.com", |params| {
            params.distinguished_name.push(DnType::CommonName, name);
        });
        let options = TlsClientOptions {
            certificate: Some(files),
            ..authority.client()
        };
        let (client, server) = load(authority.mutual(), &options);
        let (_near, far) = established(&client, &server);
        let seen = far
            .peer()
            .tls
            .as_ref()
            .unwrap()
            .certificate
            .as_ref()
            .unwrap();
        assert_eq!(seen.common_name, None, "{name:?}");
    }
}

#[test]
fn a_client_without_a_certificate_is_let_in_only_where_that_is_allowed() {
    let authority = Authority::new();
    let optional = TlsServerOptions {
        client_authentication: ClientAuthentication::Optional,
        ..authority.mutual()
    };
    let (client, server) = load(optional.clone(), &authority.client());
    let (_near, far) = established(&client, &server);
    assert_eq!(far.peer().tls.as_ref().unwrap().certificate, None);

    let (client, server) = load(authority.mutual(), &authority.client());
    let (mut near, _far, results) = meet(&client, &server, "localhost");
    assert_eq!(results[1], tls(TlsError::ClientCertificateMissing));
    // In TLS 1.3 the client hears of it when it reads.
    assert_eq!(
        failure(&mut near),
        TlsError::ClientCertificateMissing.into()
    );

    // One that is shown has to be good, even where none is needed.
    let stranger = Authority::new();
    let files = stranger.sign("stranger", "x.example.com", |_| {});
    let options = TlsClientOptions {
        certificate: Some(files),
        ..authority.client()
    };
    let (client, server) = load(optional, &options);
    let (_, _, results) = meet(&client, &server, "localhost");
    assert_eq!(results[1], tls(TlsError::AuthorityUnknown));
}

#[test]
fn a_reload_swaps_everything_together_and_spares_live_connections() {
    let authority = Authority::new();
    let files = authority.sign("meter", "m.example.com", |params| {
        params.serial_number = Some(SerialNumber::from(9));
    });
    let client = TlsClientOptions {
        certificate: Some(files),
        ..authority.client()
    };
    let crl = authority.crl("crl", &[1]);
    let server = TlsServerOptions {
        revocation_lists: vec![crl.clone()],
        ..authority.mutual()
    };
    let (client, server) = load(server, &client);
    let (mut near, mut far) = established(&client, &server);
    carry(&mut far, &mut near, b"x");

    fs::write(&crl, "no list").unwrap();
    let item = "revocation list";
    assert_eq!(
        server.reload(),
        Err(TlsConfigError::Missing { path: crl, item })
    );
    established(&client, &server); // The set before stays in force.

    authority.crl("crl", &[9]);
    server.reload().unwrap();
    let (_, _, results) = meet(&client, &server, "localhost");
    assert_eq!(
        results[1],
        tls(TlsError::CertificateRevoked),
        "no ticket helps round it"
    );
    assert_eq!(carry(&mut near, &mut far, b"alive"), b"alive");
}

#[test]
fn a_configuration_that_cannot_work_is_refused_with_the_file() {
    let authority = Authority::new();
    let good = authority.sign("good", "localhost", |_| {});
    let other = authority.sign("other", "localhost", |_| {});
    let missing = authority.directory.join("missing");
    let junk = authority.directory.join("junk");
    fs::write(&junk, "-----BEGIN CERTIFICATE-----\nMIIB\n").unwrap();
    let server = |chain: &PathBuf, key: &PathBuf| {
        TlsServer::load(TlsServerOptions::new(CertificateFiles::new(chain, key))).unwrap_err()
    };
    let (path, kind) = (missing.clone(), io::ErrorKind::NotFound);
    assert_eq!(
        server(&missing, &good.key),
        TlsConfigError::Unreadable { path, kind }
    );
    let path = junk.clone();
    assert_eq!(server(&junk, &good.key), TlsConfigError::NotPem { path });
    let (path, item) = (good.chain.clone(), "private key");
    assert_eq!(
        server(&good.chain, &good.chain),
        TlsConfigError::Missing { path, item }
    );
    let (chain, key) = (good.chain.clone(), other.key.clone());
    assert_eq!(
        server(&good.chain, &other.key),
        TlsConfigError::KeyMismatch { chain, key }
    );

    let none = TlsServerOptions {
        certificates: Vec::new(),
        ..authority.server()
    };
    assert_eq!(
        TlsServer::load(none).unwrap_err(),
        TlsConfigError::CertificateMissing
    );
    // An empty list of authorities must not turn the check off.
    let nobody = TlsServerOptions {
        client_authorities: None,
        ..authority.mutual()
    };
    assert_eq!(
        TlsServer::load(nobody).unwrap_err(),
        TlsConfigError::AuthorityMissing
    );
    let nobody = TlsClient::load(&TlsClientOptions::default());
    if cfg!(feature = "platform-roots") {
        // A system may have none.
        let is_told = |error| matches!(error, TlsConfigError::Refused { .. });
        assert!(nobody.err().is_none_or(is_told));
    } else if cfg!(feature = "webpki-roots") {
        assert!(nobody.is_ok());
    } else {
        assert_eq!(nobody.unwrap_err(), TlsConfigError::AuthorityMissing);
    }
    let empty = authority.directory.join("empty");
    fs::write(&empty, "").unwrap();
    let nobody = TlsClientOptions::new(&empty);
    let (path, item) = (empty, "certificate");
    assert_eq!(
        TlsClient::load(&nobody).unwrap_err(),
        TlsConfigError::Missing { path, item }
    );
}

#[test]
fn plain_text_on_a_tls_port_is_told_from_a_broken_greeting() {
    let authority = Authority::new();
    let server = TlsServer::load(authority.server()).unwrap();
    for bytes in [
        &b"\x10\x0c\0\x04MQTT"[..],
        b"GET / HTTP/1.1\r\n",
        b"\x15\x03\x01\0\x02\x02\x28",
    ] {
        let (mut near, far) = pair();
        let mut far = server.accept(far);
        near.write(bytes).unwrap();
        assert_eq!(far.handshake(), tls(TlsError::PeerSpeaksPlain));
        let mut answer = [0; 8];
        assert_eq!(near.read(&mut answer).unwrap(), 7);
        assert_eq!(answer[0], crate::TLS_ALERT, "the client can tell");
    }
    let (mut near, far) = pair();
    let mut far = server.accept(far);
    near.write(b"\x16\x03\x01\0\x05hello").unwrap();
    let error = far.handshake().unwrap_err();
    assert!(
        matches!(error, TransportError::Tls(TlsError::PeerMisbehaved { .. })),
        "{error}"
    );
    // And a plain server, seen by a client of TLS.
    let (near, mut far) = pair();
    let mut near = TlsClient::load(&authority.client())
        .unwrap()
        .connect(near, "localhost")
        .unwrap();
    assert_eq!(near.handshake(), Ok(Handshake::Pending));
    far.write(b"\x20\x02\0\0").unwrap();
    assert_eq!(near.handshake(), tls(TlsError::PeerSpeaksPlain));
    // One that closes at the greeting has understood none of it.
    let (near, far) = pair();
    let mut near = TlsClient::load(&authority.client())
        .unwrap()
        .connect(near, "localhost")
        .unwrap();
    assert_eq!(near.handshake(), Ok(Handshake::Pending));
    drop(far);
    assert_eq!(near.handshake(), tls(TlsError::Unanswered));
}

#[test]
fn a_greeting_that_trickles_waits_and_one_that_ends_early_fails() {
    let authority = Authority::new();
    let server = TlsServer::load(authority.server()).unwrap();
    let (mut near, far) = pair();
    let mut far = server.accept(far);
    for byte in [0x16, 3, 1, 2, 0, 1] {
        assert_eq!(far.handshake(), Ok(Handshake::Pending));
        near.write(&[byte]).unwrap();
    }
    assert_eq!(far.handshake(), Ok(Handshake::Pending));
    drop(near);
    assert_eq!(far.handshake(), Err(TransportError::Closed));
}

#[test]
fn a_farewell_is_an_end_and_its_absence_an_error() {
    let authority = Authority::new();
    let (client, server) = load(authority.server(), &authority.client());
    let (mut near, mut far) = established(&client, &server);
    near.write(b"last").unwrap();
    near.shutdown().unwrap();
    near.shutdown().unwrap();
    assert_eq!(
        near.write(b"x").unwrap_err().kind(),
        io::ErrorKind::BrokenPipe
    );
    let mut buffer = [0; 8];
    assert_eq!(far.read(&mut buffer).unwrap(), 4);
    assert_eq!(far.read(&mut buffer).unwrap(), 0);
    far.write(b"answer").unwrap();
    far.flush().unwrap();
    assert_eq!(
        near.read(&mut buffer).unwrap(),
        6,
        "the other way stays open"
    );

    let (near, mut far) = established(&client, &server);
    drop(near);
    assert_eq!(
        far.read(&mut buffer).unwrap_err().kind(),
        io::ErrorKind::UnexpectedEof
    );
}

#[test]
fn bytes_that_come_with_the_last_flight_are_announced() {
    let authority = Authority::new();
    let (client, server) = load(authority.server(), &authority.client());
    let (near, far) = pair();
    let mut near = client.connect(near, "localhost").unwrap();
    let mut far = server.accept(far);
    assert_eq!(near.handshake(), Ok(Handshake::Pending));
    assert_eq!(far.handshake(), Ok(Handshake::Pending));
    assert_eq!(near.handshake(), Ok(Handshake::Complete));
    near.write(b"early").unwrap();
    near.flush().unwrap();
    assert_eq!(far.handshake(), Ok(Handshake::Complete));
    assert!(far.has_buffered_input(), "no event will tell of them");
    let mut buffer = [0; 2];
    assert_eq!(far.read(&mut buffer).unwrap(), 2);
    assert!(far.has_buffered_input());
}

#[test]
fn a_flood_of_key_updates_is_cut_off() {
    // CVE-2026-39304 and its kind
    let authority = Authority::new();
    let (client, server) = load(authority.server(), &authority.client());
    let (mut near, mut far) = established(&client, &server);
    for _ in 0..1000 {
        if let Ok(session) = &mut near.session
            && let rustls::Connection::Client(session) = &mut **session
        {
            session.refresh_traffic_keys().unwrap();
        }
        near.flush().unwrap();
        match far.read(&mut [0; 64]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                return;
            }
            Ok(count) => panic!("{count} bytes out of nothing"),
        }
    }
    panic!("a thousand key updates were taken");
}

#[test]
fn a_stream_that_is_not_taken_from_refuses_at_its_bound() {
    let authority = Authority::new();
    let (client, server) = load(authority.server(), &authority.client());
    let (mut near, _far) = established(&client, &server);
    let mut taken = 0;
    let error = loop {
        match near.write(&[7; 10_000]) {
            Ok(count) => taken += count,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert!(taken <= 64 * 1024 * 3, "{taken} bytes are too many to hold");
}

#[test]
fn a_name_that_no_certificate_can_hold_is_refused() {
    let authority = Authority::new();
    let client = TlsClient::load(&authority.client()).unwrap();
    for name in ["", "a b", "-"] {
        let error = client.connect(pair().0, name).unwrap_err();
        assert_eq!(error, TlsError::ServerNameInvalid { name: name.into() });
    }
}

#[test]
fn tls_over_loopback_carries_bytes_by_edges() {
    let authority = Authority::new();
    let (client, server) = load(authority.server(), &authority.client());
    let mut turns = Loop::new();
    let (near, far) = crate::test_loop::connected(&mut turns);
    let mut near = client.connect(near, "localhost").unwrap();
    let mut far = server.accept(far);
    turns.until(|| {
        let both = [near.handshake().unwrap(), far.handshake().unwrap()];
        (both == [Handshake::Complete; 2]).then_some(())
    });
    let mut queue = OutputQueue::new();
    queue.push(&vec![3; 1_000_000]);
    let (mut received, mut buffer) = (0, vec![0; 64 * 1024]);
    turns.until(|| {
        let _ = queue.write_to(&mut near).unwrap();
        while let Some(count) = crate::test_loop::unless_blocked(far.read(&mut buffer)) {
            received += count;
        }
        (received == 1_000_000).then_some(())
    });
}
