//! What the client is subscribed to, to subscribe again.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use mqttstack_codec::{
    EncodeError, Properties, ReasonCode, Shared, SubscribeFilters, Subscription,
    SubscriptionOptions, UnsubscribeFilters,
};

/// How many filters go into one SUBSCRIBE, and about how many bytes of them.
const FILTERS_PER_REQUEST: usize = 64;
const BYTES_PER_REQUEST: usize = 8 * 1024;

/// What goes into one SUBSCRIBE.
type Contents = (SubscribeFilters<Shared>, Properties<Shared>);

/// The subscriptions that the server has granted.
#[derive(Clone, Debug, Default)]
pub(super) struct Subscriptions {
    granted: BTreeMap<String, Granted>,
}

#[derive(Clone, Debug)]
struct Granted {
    options: SubscriptionOptions,
    /// The properties of the SUBSCRIBE, which hold its Subscription Identifier.
    properties: Properties<Shared>,
}

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.granted.len()
    }

    /// Remembers what was granted and forgets what was refused; returns the latter.
    pub(super) fn on_suback(
        &mut self,
        filters: &SubscribeFilters<Shared>,
        properties: &Properties<Shared>,
        reason_codes: impl IntoIterator<Item = ReasonCode>,
    ) -> Vec<(String, ReasonCode)> {
        let mut refused = Vec::new();
        for (subscription, reason_code) in filters.iter().zip(reason_codes) {
            if reason_code.is_error() {
                self.granted.remove(subscription.filter);
                refused.push((subscription.filter.into(), reason_code));
            } else {
                let granted = Granted {
                    options: subscription.options,
                    properties: properties.clone(),
                };
                self.granted.insert(subscription.filter.into(), granted);
            }
        }
        refused
    }

    /// Forgets subscriptions that are no longer wanted.
    pub(super) fn on_unsubscribe(&mut self, filters: &UnsubscribeFilters<Shared>) {
        for filter in filters.iter() {
            self.granted.remove(filter);
        }
    }

    /// Forgets one subscription.
    pub(super) fn forget(&mut self, filter: &str) {
        self.granted.remove(filter);
    }

    /// Returns the contents of the SUBSCRIBE packets that make all subscriptions anew.
    pub(super) fn to_requests(&self) -> Result<Vec<Contents>, EncodeError> {
        let mut by_properties: BTreeMap<&[u8], (&Properties<Shared>, Vec<Subscription<'_>>)> =
            BTreeMap::new();
        for (filter, granted) in &self.granted {
            let key = granted.properties.as_bytes();
            let (_, group) = by_properties
                .entry(key)
                .or_insert_with(|| (&granted.properties, Vec::new()));
            group.push(Subscription {
                filter,
                options: granted.options,
            });
        }
        let mut requests = Vec::new();
        for (properties, group) in by_properties.into_values() {
            let mut rest = &*group;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(fitting(rest));
                requests.push((
                    SubscribeFilters::new(now.iter().copied())?,
                    properties.clone(),
                ));
                rest = later;
            }
        }
        Ok(requests)
    }
}

/// Returns how many subscriptions go into one request: at least one.
fn fitting(subscriptions: &[Subscription<'_>]) -> usize {
    let mut bytes = 0usize;
    let fit = subscriptions
        .iter()
        .take(FILTERS_PER_REQUEST)
        .take_while(|subscription| {
            bytes = bytes.saturating_add(subscription.filter.len());
            bytes <= BYTES_PER_REQUEST
        });
    fit.count().max(1)
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use mqttstack_codec::QoS;

    use super::*;

    fn granted(filters: &[&str], properties: &Properties<Shared>) -> Subscriptions {
        let mut subscriptions = Subscriptions::default();
        add(&mut subscriptions, filters, properties);
        subscriptions
    }

    fn add(subscriptions: &mut Subscriptions, filters: &[&str], properties: &Properties<Shared>) {
        let list = filters
            .iter()
            .map(|filter| Subscription::new(filter, QoS::AtLeastOnce));
        let list = SubscribeFilters::new(list).unwrap();
        let codes = filters.iter().map(|_| ReasonCode::GrantedQoS1);
        assert_eq!(subscriptions.on_suback(&list, properties, codes), []);
    }

    #[test]
    fn a_refused_filter_is_not_remembered() {
        let list = ["a", "b"].map(|filter| Subscription::new(filter, QoS::AtMostOnce));
        let list = SubscribeFilters::new(list).unwrap();
        let mut subscriptions = Subscriptions::default();
        let codes = [ReasonCode::Success, ReasonCode::NotAuthorized];
        let refused = subscriptions.on_suback(&list, &Properties::empty(), codes);
        assert_eq!(refused, [("b".into(), ReasonCode::NotAuthorized)]);
        assert_eq!(subscriptions.len(), 1);
    }

    #[test]
    fn filters_with_the_same_identifier_share_a_request() {
        let one = Properties::builder()
            .subscription_identifier(1)
            .build()
            .unwrap();
        let two = Properties::builder()
            .subscription_identifier(2)
            .build()
            .unwrap();
        let mut subscriptions = granted(&["a", "c"], &one);
        add(&mut subscriptions, &["b"], &two);
        let requests = subscriptions.to_requests().unwrap();
        let shape: Vec<(Vec<_>, Vec<_>)> = requests
            .iter()
            .map(|(filters, properties)| {
                let filters = filters
                    .iter()
                    .map(|subscription| subscription.filter)
                    .collect();
                (filters, properties.subscription_identifiers().collect())
            })
            .collect();
        assert_eq!(
            shape,
            [(["a", "c"].into(), [1].into()), (["b"].into(), [2].into())]
        );
    }

    #[test]
    fn many_or_long_filters_are_spread_over_requests() {
        let names: Vec<String> = (0..150)
            .map(|number| format!("filter/{number:03}"))
            .collect();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        let requests = granted(&names, &Properties::empty()).to_requests().unwrap();
        assert_eq!(
            requests
                .iter()
                .map(|(list, _)| list.len())
                .collect::<Vec<_>>(),
            [64, 64, 22]
        );

        let long = ["a", "b", "c"].map(|name| name.repeat(5_000));
        let long: Vec<&str> = long.iter().map(|name| &**name).collect();
        let requests = granted(&long, &Properties::empty()).to_requests().unwrap();
        assert_eq!(
            requests
                .iter()
                .map(|(list, _)| list.len())
                .collect::<Vec<_>>(),
            [1, 1, 1]
        );
    }
}
