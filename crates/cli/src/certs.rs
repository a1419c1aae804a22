//! `mqttstack certs`: an authority and what it signs, for development.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use jiff::{Timestamp, ToSpan as _, Zoned, civil::Date};
use mqttstack_broker::transport::rustls::pki_types::{CertificateDer, pem::PemObject as _};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use x509_cert::{
    Certificate,
    der::Decode as _,
    ext::pkix::{self, KeyUsage},
};

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  mqttstack certs tls
      for a server at localhost, 127.0.0.1 and ::1
  mqttstack certs tls --host broker.lan --host 192.0.2.7 --client ann --client meter-7
      for a server that has other names too, and for two clients

  mqttstack certs tls --client ben
      one more client; an authority that is there, ca.crt and ca.key, signs what is added

The authority's key is kept beside the rest: enough for development and tests, not for production.

Exit codes: 0 done, 1 usage, files that are there, or that cannot be written.";

/// The names that a server on this machine has.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// How long the authority lasts, in days, if the rest does not last longer.
const AUTHORITY_DAYS: u32 = 3650;

/// Makes certificates.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where to put them; the directory is made if it is not there.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// A name or an address of the server, beside localhost, 127.0.0.1 and ::1; may be repeated.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    host: Vec<String>,
    /// A client to make a certificate for, by the name that the broker is to know; may be repeated.
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = client_name)]
    client: Vec<String>,
    /// How long the certificates last. Browsers and systems of Apple take 398 days at most.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// Overwrite files that are there, the authority among them: everything is made anew.
    #[arg(long)]
    force: bool,
}

/// A file to write.
struct File {
    name: String,
    pem: String,
    meaning: String,
}

impl File {
    fn is_secret(&self) -> bool {
        self.name.ends_with(".key")
    }
}

/// Makes a certificate of a server and those of clients, and an authority if there is none.
pub(crate) fn run(arguments: &Args) -> Result<(), Failure> {
    let directory = &arguments.directory;
    let is_there = |name: &str| directory.join(name).symlink_metadata().is_ok();
    let known = if arguments.force {
        None
    } else {
        known_authority(directory)?
    };
    // An authority that is there has signed for a server before, unless that is gone.
    let adds_server = known.is_none() || !arguments.host.is_empty() || !is_there("server.crt");
    if !adds_server && arguments.client.is_empty() {
        return Err(Failure::configuration(
            format!("there is nothing to add in {}", directory.display()),
            "name a --client to add; remove server.crt and server.key to have them made anew; or say \
             --force to make everything anew, the authority too",
        ));
    }
    let files = sign(arguments, known, adds_server).map_err(|error| {
        let hint = "hosts are names such as broker.lan, or addresses";
        Failure::configuration(format!("cannot make the certificates: {error}"), hint)
    })?;
    let blocked = files.iter().find(|file| is_there(&file.name));
    if let Some(file) = blocked.filter(|_| !arguments.force) {
        let path = directory.join(&file.name);
        return Err(Failure::configuration(
            format!(
                "{} is there already, and nothing was written",
                path.display()
            ),
            "remove it with its pair, or choose another directory; or say --force, and whoever trusts \
             the authority there has to trust the new one",
        ));
    }
    let wrong = |path: &Path, error: &io::Error| {
        let hint = "choose a directory that you may write to";
        Failure::configuration(format!("cannot write {}: {error}", path.display()), hint)
    };
    fs::create_dir_all(directory).map_err(|error| wrong(directory, &error))?;
    for file in &files {
        let path = directory.join(&file.name);
        write(&path, file).map_err(|error| wrong(&path, &error))?;
    }
    io::stdout()
        .write_all(report(arguments, &files, adds_server).as_bytes())
        .map_err(Failure::output)
}

/// Reads the authority in a directory, if there is one.
fn known_authority(directory: &Path) -> Result<Option<Issuer<'static, KeyPair>>, Failure> {
    let [certificate, key] = ["ca.crt", "ca.key"].map(|name| directory.join(name));
    let unusable = |path: &Path, why: &str| {
        Failure::configuration(
            format!("cannot use the authority in {}: {why}", path.display()),
            "an authority is ca.crt and ca.key, in PEM; choose another directory, or say --force to \
             make everything anew",
        )
    };
    let read = |path: &Path| match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(path, &error.to_string())),
    };
    let (pem, secret) = match (read(&certificate)?, read(&key)?) {
        (None, None) => return Ok(None),
        (Some(pem), Some(secret)) => (pem, secret),
        (Some(_), None) => return Err(unusable(&key, "it is missing")),
        (None, Some(_)) => return Err(unusable(&certificate, "it is missing")),
    };
    let pair = KeyPair::from_pem(&secret).map_err(|error| unusable(&key, &error.to_string()))?;
    let of_pair = pair.public_key_raw().to_vec();
    let der = CertificateDer::from_pem_slice(pem.as_bytes());
    let der = der.map_err(|error| unusable(&certificate, &error.to_string()))?;
    // The certificate has its public key in it, as it is.
    if !der.windows(of_pair.len()).any(|part| part == of_pair) {
        return Err(unusable(&key, "it does not belong to ca.crt"));
    }
    may_sign(&der).map_err(|why| unusable(&certificate, &why))?;
    let issuer = Issuer::from_ca_cert_der(&der, pair);
    let issuer = issuer.map_err(|error| unusable(&certificate, &error.to_string()))?;
    Ok(Some(issuer))
}

/// Says why what a certificate signs would be trusted by nobody, if that is so.
fn may_sign(certificate: &[u8]) -> Result<(), String> {
    let certificate = Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let certificate = certificate.tbs_certificate();
    let constraints = certificate.get_extension::<pkix::BasicConstraints>();
    let usage = certificate.get_extension::<KeyUsage>();
    let (constraints, usage) = match (constraints, usage) {
        (Ok(constraints), Ok(usage)) => (constraints, usage),
        (Err(error), _) | (_, Err(error)) => return Err(error.to_string()),
    };
    let is_authority = constraints.is_some_and(|(_, constraints)| constraints.ca)
        && usage.is_none_or(|(_, usage)| usage.key_cert_sign());
    if !is_authority {
        return Err("it may sign no certificates".to_owned());
    }
    let until = certificate.validity().not_after.to_unix_duration();
    match Timestamp::from_second(i64::try_from(until.as_secs()).unwrap_or(i64::MAX)) {
        Ok(until) if until < Zoned::now().timestamp() => Err(format!("it expired at {until}")),
        // What lies past the end of the calendar has not expired.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Makes the keys, and signs what belongs to them: by the authority that is known, or by a new one.
fn sign(
    arguments: &Args,
    known: Option<Issuer<'static, KeyPair>>,
    adds_server: bool,
) -> Result<Vec<File>, rcgen::Error> {
    let today = Zoned::now().date();
    // Clocks differ; yesterday it was not used anyway.
    let first = today.saturating_sub(1.day());
    let last = |days: u32| today.saturating_add(i64::from(days).days());
    let part = |number: i8| u8::try_from(number).unwrap_or(1);
    let moment = |day: Date| date_time_ymd(day.year().into(), part(day.month()), part(day.day()));
    let lasting = |params: &mut CertificateParams, days| {
        params.not_before = moment(first);
        params.not_after = moment(last(days));
    };

    let mut files = Vec::new();
    let issuer = match known {
        Some(known) => known,
        None => {
            let days = AUTHORITY_DAYS.max(arguments.days);
            authority(&mut files, today, |params| lasting(params, days))?
        }
    };

    let mut hosts: Vec<String> = LOCAL.map(ToOwned::to_owned).into();
    hosts.extend(arguments.host.iter().cloned());
    let meaning = format!("the server: {}", hosts.join(", "));
    let common_name = arguments
        .host
        .first()
        .map_or(LOCAL[0], |host| host)
        .to_owned();
    let server = (hosts, common_name, ExtendedKeyUsagePurpose::ServerAuth);
    let clients = arguments.client.iter().map(|name| {
        let client = (
            Vec::new(),
            name.clone(),
            ExtendedKeyUsagePurpose::ClientAuth,
        );
        (
            format!("client-{name}"),
            format!("the client {name}"),
            client,
        )
    });
    let server = adds_server.then(|| ("server".to_owned(), meaning, server));
    let all = server.into_iter().chain(clients);
    for (name, meaning, (hosts, common_name, purpose)) in all {
        let mut params = CertificateParams::new(hosts)?;
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        lasting(&mut params, arguments.days);
        let key = KeyPair::generate()?;
        files.push(File {
            name: format!("{name}.crt"),
            pem: params.signed_by(&key, &issuer)?.pem(),
            meaning,
        });
        files.push(File {
            name: format!("{name}.key"),
            pem: key.serialize_pem(),
            meaning: "its key".to_owned(),
        });
    }
    Ok(files)
}

/// Makes an authority, and adds its files.
fn authority(
    files: &mut Vec<File>,
    today: Date,
    lasting: impl FnOnce(&mut CertificateParams),
) -> Result<Issuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Told apart from those of other days where several are trusted.
    let name = format!("mqttstack development authority {today}");
    params
        .distinguished_name
        .push(DnType::CommonName, name.clone());
    lasting(&mut params);
    let key = KeyPair::generate()?;
    files.push(File {
        name: "ca.crt".to_owned(),
        pem: params.self_signed(&key)?.pem(),
        meaning: format!("{name}: to be trusted"),
    });
    files.push(File {
        name: "ca.key".to_owned(),
        pem: key.serialize_pem(),
        meaning: "its key: who has it can pose as anybody to those who trust it".to_owned(),
    });
    Ok(Issuer::new(params, key))
}

/// Takes a name that can be part of the name of a file, whatever the system.
fn client_name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 64 || !text.chars().all(is_plain) {
        return Err("names have 1 to 64 letters, digits, `-`, `_` and `.`".to_owned());
    }
    Ok(text.to_owned())
}

/// Writes a file that nobody else can read if it is a key, from its first moment on.
fn write(path: &Path, file: &File) -> io::Result<()> {
    // What is overwritten may be open to others, or a link to elsewhere.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(if file.is_secret() { 0o600 } else { 0o644 });
    }
    options.open(path)?.write_all(file.pem.as_bytes())
}

/// Says what was written, and what to do with it.
fn report(arguments: &Args, files: &[File], adds_server: bool) -> String {
    let width = files.iter().map(|file| file.name.len()).max().unwrap_or(0);
    let mut report = format!("In {}:\n", arguments.directory.display());
    for File { name, meaning, .. } in files {
        report.push_str(&format!("  {name:width$}  {meaning}\n"));
    }
    let at = |name: &str| quoted(&arguments.directory.join(name));
    let (ca, certificate, key) = (at("ca.crt"), at("server.crt"), at("server.key"));
    let broker =
        format!("mqttstack broker --listen mqtts://localhost --cert {certificate} --key {key}");
    let subscriber = format!("mqttstack sub -L mqtts://localhost --cafile {ca}");
    // Whoever adds to what is there has a broker.
    if adds_server {
        report.push_str(&format!(
            "\nNext, a broker and a client:\n  {broker}\n  {subscriber} -t '#' -v\n"
        ));
    }
    if let Some(name) = arguments.client.first() {
        let file = |kind| at(&format!("client-{name}.{kind}"));
        let (certificate, key) = (file("crt"), file("key"));
        let client = format!("{subscriber} --cert {certificate} --key {key} -t '#' -v");
        report.push_str(&match adds_server {
            true => format!(
                "\nOnly for clients with a certificate:\n  {broker} \\\n    --cafile {ca} \
                 --client-certificates required\n  {client}\n"
            ),
            false => format!("\nNext, the client:\n  {client}\n"),
        });
    }
    report
}

/// Returns a path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./+:@".contains(c);
    if text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_when_a_shell_would_take_it_apart() {
        for (path, shown) in [
            ("tls/ca.crt", "tls/ca.crt"),
            ("my keys/ca.crt", "'my keys/ca.crt'"),
            ("ann's", r"'ann'\''s'"),
        ] {
            assert_eq!(quoted(Path::new(path)), shown);
        }
    }

    #[test]
    fn a_client_has_a_name_that_a_file_can_have() {
        for (name, is_taken) in [
            ("meter-7", true),
            ("a.b_c", true),
            ("", false),
            ("../x", false),
            ("a b", false),
        ] {
            assert_eq!(client_name(name).is_ok(), is_taken, "{name}");
        }
    }
}
