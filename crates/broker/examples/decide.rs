//! Who may connect, publish and subscribe, decided by another thread that may take its time:
//! `cargo run -p mqttstack-broker --example decide -- 127.0.0.1:1883`

use std::{sync::mpsc, thread, time::Duration};

use mqttstack_broker::{
    Broker, Resolver,
    codec::ReasonCode,
    core::{
        Access, Answer, Authentication, Authorization, ConnectRequest, PublishRequest,
        SubscribeRequest, Ticket, WillRequest,
    },
};

/// What has to be looked up.
enum Question {
    Login { name: String, password: Vec<u8> },
    Topic { identity: String, topic: String },
}

/// Hands every question to a thread, so that no worker waits.
struct AskDirectory {
    questions: mpsc::Sender<(Ticket, Question)>,
}

impl AskDirectory {
    fn start(resolver: &Resolver) -> Self {
        let (sender, questions) = mpsc::channel();
        let resolver = resolver.clone();
        thread::spawn(move || {
            for (ticket, question) in questions {
                resolver.resolve(ticket, look_up(question));
            }
        });
        Self { questions: sender }
    }

    fn ask_for_topic(&self, ticket: Ticket, identity: Option<&str>, topic: &str) -> Authorization {
        let (identity, topic) = (identity.unwrap_or_default().into(), topic.into());
        match self
            .questions
            .send((ticket, Question::Topic { identity, topic }))
        {
            Ok(()) => Authorization::Deferred,
            Err(_) => Authorization::of(false),
        }
    }
}

/// Stands for a query that takes a while.
fn look_up(question: Question) -> Answer {
    thread::sleep(Duration::from_millis(5));
    match question {
        Question::Login { name, password } if password == b"secret" => Authentication::Accept {
            identity: Some(name.into()),
        }
        .into(),
        Question::Login { .. } => Authentication::Refuse(ReasonCode::BadUserNameOrPassword).into(),
        Question::Topic { identity, topic } => {
            let own = topic.strip_prefix(&identity);
            Authorization::of(own.is_some_and(|rest| rest.starts_with('/'))).into()
        }
    }
}

impl Access for AskDirectory {
    fn authenticate(&mut self, request: &ConnectRequest<'_>) -> Authentication {
        let (Some(name), Some(password)) = (&request.connect.username, &request.connect.password)
        else {
            return Authentication::Refuse(ReasonCode::BadUserNameOrPassword);
        };
        let question = Question::Login {
            name: name.as_str().into(),
            password: password.to_vec(),
        };
        match self.questions.send((request.ticket, question)) {
            Ok(()) => Authentication::Deferred,
            Err(_) => Authentication::Refuse(ReasonCode::ServerUnavailable),
        }
    }

    fn authorize_publish(&mut self, request: &PublishRequest<'_>) -> Authorization {
        self.ask_for_topic(
            request.ticket,
            request.client.identity,
            request.message.topic(),
        )
    }

    fn authorize_will(&mut self, request: &WillRequest<'_>) -> Authorization {
        self.ask_for_topic(request.ticket, request.client.identity, &request.will.topic)
    }

    fn authorize_subscribe(&mut self, request: &SubscribeRequest<'_>) -> Authorization {
        self.ask_for_topic(request.ticket, request.client.identity, request.filter)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:1883".to_owned());
    let broker = Broker::builder()
        .listen(address.parse()?)
        .access_with(|resolver| Box::new(AskDirectory::start(resolver)))
        .start()?;
    println!("clients whose password is \"secret\" have the topics below their names");
    broker.wait()?;
    Ok(())
}
