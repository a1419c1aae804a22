//! Subscriptions and names to look up, made from a seed.

/// A small generator (xorshift64*): the same seed makes the same load everywhere.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Starts a sequence.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Returns the next number below `end`.
    pub const fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}

/// One subscription: whose, and to what.
pub type Subscription = (u64, String);

/// A set of subscriptions and the names to look up in it.
#[derive(Clone, Debug)]
pub struct Load {
    /// What the load is called in tables.
    pub title: &'static str,
    /// In random order.
    pub subscriptions: Vec<Subscription>,
    /// In random order.
    pub names: Vec<String>,
}

/// How many names each load looks up.
const NAMES: u64 = 100_000;

impl Load {
    /// Every load, made for a number of subscriptions.
    pub const ALL: [fn(u64) -> Self; 8] = [
        |count| Self::mixed(count, 10),
        |count| Self {
            title: "mixed, one each",
            ..Self::mixed(count, 100)
        },
        Self::exact,
        Self::tenth_wildcards,
        Self::all_plus,
        Self::deep,
        Self::hot,
        Self::adversarial,
    ];

    /// The main figure. Per 100 subscriptions: 90 filters of six levels without wildcards, five
    /// clients on one filter with `+`, four on one with `#`, one `org/+/...`; and two filters
    /// that match everything. A lookup matches 12; one in ten finds no filter of its own.
    #[must_use]
    pub fn mixed(count: u64, keys_per_hundred: u64) -> Self {
        let groups = (count / 100).max(1);
        let mut subscriptions = vec![
            (u64::MAX, "#".to_owned()),
            (u64::MAX - 1, "+/+/+/+/+/temp".to_owned()),
        ];
        for group in 0..groups {
            let (org, site) = (group / 64, group % 64);
            let key = |index: u64| group * keys_per_hundred + index % keys_per_hundred;
            for device in 0..90 {
                subscriptions.push((key(device), device_name(group, device)));
            }
            for index in 90..95 {
                subscriptions.push((key(index), format!("org{org}/site{site}/+/+/+/temp")));
            }
            for index in 95..99 {
                subscriptions.push((key(index), format!("org{org}/site{site}/#")));
            }
            let (line, cell) = (site % 3, site % 5);
            let text = format!("org{org}/+/line{line}/cell{cell}/dev{site}/temp");
            subscriptions.push((key(99), text));
        }
        let mut chance = Chance::new(7);
        let names = (0..NAMES).map(|_| {
            let is_known = chance.below(10) > 0;
            let device = chance.below(90) + if is_known { 0 } else { 500 };
            device_name(chance.below(groups), device)
        });
        Self::shuffled("mixed", subscriptions, names.collect())
    }

    /// Filters without wildcards only, each with one subscriber.
    #[must_use]
    pub fn exact(count: u64) -> Self {
        let subscriptions =
            (0..count).map(|index| (index / 10, device_name(index / 90, index % 90)));
        let mut chance = Chance::new(7);
        let names = (0..NAMES).map(|_| {
            let index = chance.below(count);
            device_name(index / 90, index % 90)
        });
        Self::shuffled("all exact", subscriptions.collect(), names.collect())
    }

    /// Nine filters without wildcards for one with `+`.
    #[must_use]
    pub fn tenth_wildcards(count: u64) -> Self {
        let mut load = Self::exact(count);
        load.title = "10 % wildcards";
        for (index, (_, filter)) in load.subscriptions.iter_mut().enumerate() {
            if index % 10 == 0 {
                *filter = with_plus(filter, 2);
            }
        }
        load
    }

    /// Every filter has a `+`, at one of four places.
    #[must_use]
    pub fn all_plus(count: u64) -> Self {
        let mut load = Self::exact(count);
        load.title = "all `+`";
        for (index, (_, filter)) in load.subscriptions.iter_mut().enumerate() {
            *filter = with_plus(filter, 1 + index % 4);
        }
        load
    }

    /// Filters of 32 levels, half of them with `+` and `#`.
    #[must_use]
    pub fn deep(count: u64) -> Self {
        let name = |index: u64| {
            let levels: Vec<_> = (0..32_u64)
                .map(|level| format!("l{}", (index >> (level / 2)) % 4))
                .collect();
            format!("{}/{index}", levels.join("/"))
        };
        let subscriptions = (0..count).map(|index| {
            let name = name(index);
            let filter = if index % 2 == 0 {
                name
            } else {
                format!("{}/#", with_plus(&name, 20))
            };
            (index / 10, filter)
        });
        let mut chance = Chance::new(7);
        let names = (0..NAMES / 10).map(|_| name(chance.below(count)));
        Self::shuffled("deep (33 levels)", subscriptions.collect(), names.collect())
    }

    /// Every key is subscribed to the same filter.
    #[must_use]
    pub fn hot(count: u64) -> Self {
        let subscriptions = (0..count).map(|key| (key, "news/headlines".to_owned()));
        Self::shuffled(
            "one hot topic",
            subscriptions.collect(),
            vec!["news/headlines".to_owned(); 10],
        )
    }

    /// Filters `{a|+}/{a|+}/.../z` of which none matches `a/a/.../a`, though all but their last
    /// levels do.
    #[must_use]
    pub fn adversarial(count: u64) -> Self {
        let depth = 64 - count.saturating_sub(1).leading_zeros();
        let subscriptions = (0..count).map(|index| {
            let levels: Vec<_> = (0..depth)
                .map(|bit| if index >> bit & 1 == 0 { "a" } else { "+" })
                .collect();
            (index / 100, format!("{}/z", levels.join("/")))
        });
        let name = vec!["a"; depth as usize + 1].join("/");
        Self::shuffled("adversarial", subscriptions.collect(), vec![name; 2])
    }

    fn shuffled(
        title: &'static str,
        mut subscriptions: Vec<Subscription>,
        names: Vec<String>,
    ) -> Self {
        let mut chance = Chance::new(11);
        for index in (1..subscriptions.len()).rev() {
            let other = chance.below(index as u64 + 1) as usize;
            subscriptions.swap(index, other);
        }
        Self {
            title,
            subscriptions: laid_out(&subscriptions),
            names,
        }
    }
}

/// Copies subscriptions so that their texts lie in memory in the order of their use. A broker has
/// just received the text it parses; waiting for it would be a cost of the load, not of the index.
pub fn laid_out<'a>(order: impl IntoIterator<Item = &'a Subscription>) -> Vec<Subscription> {
    order.into_iter().cloned().collect()
}

fn device_name(group: u64, device: u64) -> String {
    let (org, site) = (group / 64, group % 64);
    let (line, cell) = (device % 3, device % 5);
    format!("org{org}/site{site}/line{line}/cell{cell}/dev{device}/temp")
}

fn with_plus(filter: &str, place: usize) -> String {
    let levels = filter.split('/').enumerate();
    let levels: Vec<_> = levels
        .map(|(at, level)| if at == place { "+" } else { level })
        .collect();
    levels.join("/")
}
