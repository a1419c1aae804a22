//! Clients prove who they are in several steps (enhanced authentication of MQTT 5.0), without ever
//! sending what they prove it with: `cargo run -p mqttstack-broker --example prove -- 127.0.0.1:1883`
//!
//! The method is "code-list": the client has a list of codes on paper. CONNECT carries its name as
//! Authentication Data; the broker asks for the code at a place of the list, which the client sends. Each
//! place is asked for once.

use std::{
    collections::BTreeMap,
    str,
    sync::{Arc, Mutex},
};

use mqttstack_broker::{
    Broker,
    codec::ReasonCode,
    core::{Access, AuthRequest, Authentication, ConnectRequest},
};

const METHOD: &str = "code-list";

/// The codes of each client that have not been asked for. All workers share it.
type Lists = Arc<Mutex<BTreeMap<String, BTreeMap<usize, &'static str>>>>;

struct CodeLists(Lists);

impl CodeLists {
    /// Asks a client for its next code, and notes who and which.
    fn ask(&self, name: Option<&[u8]>) -> Option<Authentication> {
        let name = str::from_utf8(name?).ok()?;
        let lists = self.0.lock().ok()?;
        let (place, _) = lists.get(name)?.first_key_value()?;
        Some(Authentication::Continue {
            data: format!("{place}").into(),
            note: format!("{place} {name}").into(),
        })
    }

    /// Looks whether a client has sent the code that it was asked for. Right or wrong, it is used up.
    fn check(&self, note: &[u8], code: Option<&[u8]>) -> Option<Authentication> {
        let (place, name) = str::from_utf8(note).ok()?.split_once(' ')?;
        let mut lists = self.0.lock().ok()?;
        let right = lists.get_mut(name)?.remove(&place.parse().ok()?)?;
        (code? == right.as_bytes()).then(|| Authentication::Accept {
            identity: Some(name.into()),
        })
    }
}

/// Whoever cannot answer is kept out.
fn or_refuse(answer: Option<Authentication>) -> Authentication {
    answer.unwrap_or(Authentication::Refuse(ReasonCode::NotAuthorized))
}

impl Access for CodeLists {
    fn authenticate(&mut self, request: &ConnectRequest<'_>) -> Authentication {
        let properties = &request.connect.properties;
        if properties.authentication_method() != Some(METHOD) {
            return Authentication::Refuse(ReasonCode::BadAuthenticationMethod);
        }
        or_refuse(self.ask(properties.authentication_data()))
    }

    fn authenticate_step(&mut self, request: &AuthRequest<'_>) -> Authentication {
        let data = request.auth.properties.authentication_data();
        // A client that is connected may begin anew, with its name.
        if request.auth.reason_code == ReasonCode::ReAuthenticate {
            return or_refuse(self.ask(data));
        }
        or_refuse(self.check(request.note, data))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:1883".to_owned());
    let codes = ["4711", "0815", "2718", "3141"].into_iter().enumerate();
    let lists = BTreeMap::from([("ann".to_owned(), codes.collect())]);
    let lists = Arc::new(Mutex::new(lists));
    let broker = Broker::builder()
        .listen(address.parse()?)
        .access(move || Box::new(CodeLists(Arc::clone(&lists))))
        .start()?;
    println!("client \"ann\" has four codes: 4711, 0815, 2718, 3141");
    broker.wait()?;
    Ok(())
}
