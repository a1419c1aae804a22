//! What revocation lists are held to, and what happens where they say nothing.

/// How far certificates have to be vouched for by revocation lists, once there is a list.
///
/// The default is the strict choice in each: a certificate passes if lists that are in force say of
/// it, and of all between it and its authority, that they were not revoked.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RevocationPolicy {
    /// Looks up every certificate between the peer's and its authority, not the peer's alone.
    /// Default: `true`; then each authority in between needs a list of the one above it.
    pub checks_chain: bool,
    /// Refuses all that only a list past its next update vouches for. Default: `true`; whoever keeps
    /// new lists away would keep old certificates valid otherwise.
    pub refuses_expired_lists: bool,
    /// Refuses a certificate whose issuer no list covers. Default: `true`.
    pub refuses_unknown: bool,
}

impl Default for RevocationPolicy {
    fn default() -> Self {
        Self {
            checks_chain: true,
            refuses_expired_lists: true,
            refuses_unknown: true,
        }
    }
}
