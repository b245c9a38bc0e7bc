//! Where a server of recordings may redirect to: never in circles, never to another scheme than http(s), and never from the
//! internet into a private network, where metadata services and admin consoles answer anyone.

use std::{collections::HashSet, env, net::IpAddr, sync::Arc, time::Duration};

use reqwest::{
    Response, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header::LOCATION,
};
use tokio::{net::lookup_host, time::timeout};
use url::{Host, Url};

use super::network;

const MAX_REDIRECTS: usize = 10;
/// The variables that name a proxy. With a proxy, the proxy resolves names, and is the only host connected to.
const PROXIES: [&str; 6] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Why a redirect is not followed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RedirectFault {
    #[error("it redirects in a circle")]
    Circle,
    #[error("it redirects more than {MAX_REDIRECTS} times")]
    TooMany,
    #[error("it redirects to an address that is not http or https")]
    Elsewhere,
    #[error(
        "it redirects from the internet into a private network, to `{host}`; if that is meant, say private_redirects = true in [source]"
    )]
    Private { host: String },
}

/// Which addresses are public, and how names are resolved.
#[derive(Debug, Clone)]
pub(super) struct Network {
    is_public: fn(IpAddr) -> bool,
    /// Hosts of the proxies in the environment.
    proxies: Arc<HashSet<String>>,
    /// The longest time for resolving a name.
    timeouts: Duration,
}

impl Network {
    /// The real network.
    pub(super) fn new(timeouts: Duration) -> Self {
        let proxies = PROXIES.iter().filter_map(|name| host_of(&env::var(name).ok()?)).collect();
        Self { is_public: network::is_public, proxies: Arc::new(proxies), timeouts }
    }

    /// A network with another set of public addresses.
    #[cfg(test)]
    pub(super) fn with_public(self, is_public: fn(IpAddr) -> bool) -> Self {
        Self { is_public, ..self }
    }

    /// Whether a response came from a private network. The peer's address shows that, and not its name, which may mean another
    /// machine by now. Behind a proxy only the spelling is known.
    fn came_from_private(&self, at: &Url, answer: &Response) -> bool {
        let peer = answer.remote_addr().filter(|_| self.proxies.is_empty());
        match peer {
            Some(peer) => !(self.is_public)(peer.ip()),
            None => self.is_private_by_spelling(at),
        }
    }

    fn is_private_by_spelling(&self, url: &Url) -> bool {
        match url.host() {
            Some(Host::Ipv4(ip)) => !(self.is_public)(ip.into()),
            Some(Host::Ipv6(ip)) => !(self.is_public)(ip.into()),
            _ => !network::has_public_host(url),
        }
    }

    /// Whether `url` leads into a private network, as far as its spelling or this machine's name resolution shows.
    async fn leads_into_private(&self, url: &Url) -> bool {
        if self.is_private_by_spelling(url) {
            return true;
        }
        let Some(Host::Domain(name)) = url.host() else { return false };
        // A host that cannot be resolved cannot be reached either; a proxy may know the name.
        let Ok(Ok(found)) = timeout(self.timeouts, lookup_host((name, 0))).await else { return false };
        let found: Vec<IpAddr> = found.map(|addr| addr.ip()).collect();
        !found.is_empty() && !found.iter().any(|ip| (self.is_public)(*ip))
    }
}

/// Resolves names to public addresses only: an address that was public during the check cannot become private before the
/// connection is made.
impl Resolve for Network {
    fn resolve(&self, name: Name) -> Resolving {
        let network = self.clone();
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let found: Vec<_> = lookup_host((name.as_str(), 0)).await?.collect();
            if network.proxies.contains(&name.to_ascii_lowercase()) {
                return Ok(Box::new(found.into_iter()) as Addrs);
            }
            let public: Vec<_> = found.into_iter().filter(|addr| (network.is_public)(addr.ip())).collect();
            if public.is_empty() {
                return Err(RedirectFault::Private { host: name }.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

fn host_of(proxy: &str) -> Option<String> {
    let proxy = proxy.trim();
    let url = if proxy.contains("://") { Url::parse(proxy) } else { Url::parse(&format!("http://{proxy}")) };
    Some(url.ok()?.host_str()?.to_ascii_lowercase())
}

/// A chain of redirects.
#[derive(Debug)]
pub(super) struct Way {
    been: Vec<Url>,
    /// The current URL.
    pub(super) at: Url,
    /// Whether only public addresses are connected to.
    pub(super) guarded: bool,
}

impl Way {
    /// Starts at the user's URL.
    pub(super) fn new(url: &Url) -> Self {
        Self { been: Vec::new(), at: url.clone(), guarded: false }
    }

    /// Follows a redirect in `answer`, and returns whether there was one. `anywhere`: also into private networks.
    pub(super) async fn follow(
        &mut self,
        network: &Network,
        anywhere: bool,
        answer: &Response,
    ) -> Result<bool, RedirectFault> {
        let Some(next) = target(&self.at, answer) else { return Ok(false) };
        if !matches!(next.scheme(), "http" | "https") {
            return Err(RedirectFault::Elsewhere);
        }
        let been = std::mem::replace(&mut self.at, next);
        self.been.push(been);
        let from = self.been.last().expect("just pushed");
        if self.been.contains(&self.at) {
            return Err(RedirectFault::Circle);
        }
        if self.been.len() > MAX_REDIRECTS {
            return Err(RedirectFault::TooMany);
        }
        self.guarded = false;
        if !anywhere && !network.came_from_private(from, answer) {
            if network.leads_into_private(&self.at).await {
                let host = self.at.host_str().unwrap_or_default().to_owned();
                return Err(RedirectFault::Private { host });
            }
            self.guarded = true;
        }
        Ok(true)
    }
}

/// The target of a redirect. User and password are kept for the same server only.
fn target(at: &Url, answer: &Response) -> Option<Url> {
    let redirects = matches!(
        answer.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let location = answer.headers().get(LOCATION).filter(|_| redirects)?;
    next_of(at, std::str::from_utf8(location.as_bytes()).ok()?)
}

fn next_of(at: &Url, location: &str) -> Option<Url> {
    let mut next = at.join(location).ok()?;
    let same = next.host_str() == at.host_str() && next.port_or_known_default() == at.port_or_known_default();
    if same && next.username().is_empty() && next.password().is_none() {
        // Both fail only if there is no host, and then there was none before.
        let _ = next.set_username(at.username());
        let _ = next.set_password(at.password());
    }
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_stay_with_their_server() {
        let at: Url = "http://me:pw@rec.example.com/a.wav".parse().unwrap();
        let next = |location: &str| next_of(&at, location).unwrap().to_string();
        assert_eq!(next("/b.wav?x=1"), "http://me:pw@rec.example.com/b.wav?x=1");
        assert_eq!(next("http://rec.example.com/b.wav"), "http://me:pw@rec.example.com/b.wav");
        assert_eq!(next("http://you:pw@rec.example.com/b"), "http://you:pw@rec.example.com/b");
        assert_eq!(next("http://rec.example.com:8080/b"), "http://rec.example.com:8080/b");
        assert_eq!(next("//evil.example.com/b"), "http://evil.example.com/b");
        assert_eq!(next("file:///etc/passwd"), "file:///etc/passwd");
    }

    #[test]
    fn a_proxy_is_known_by_its_host() {
        for (given, host) in [
            ("http://user:pw@Proxy.corp:3128", "proxy.corp"),
            ("proxy.corp:3128", "proxy.corp"),
            ("10.0.0.1:3128", "10.0.0.1"),
            ("socks5://[::1]:1080/", "[::1]"),
        ] {
            assert_eq!(host_of(given).as_deref(), Some(host), "{given}");
        }
        assert_eq!(host_of(""), None);
    }

    #[tokio::test]
    async fn names_are_looked_up() {
        let network = Network::new(Duration::from_secs(5));
        let leads = async |url: &str| network.leads_into_private(&url.parse().unwrap()).await;
        assert!(leads("http://localhost/").await && leads("http://0x7f.1/").await);
        assert!(!leads("http://8.8.8.8/").await);
        // A name that looks public, and resolves to this machine, as `localtest.me` does.
        let everything_else = network.clone().with_public(|ip| !ip.is_loopback());
        let resolved = everything_else.resolve("localhost".parse().unwrap()).await;
        let fault = resolved.err().expect("only loopback").to_string();
        assert!(fault.contains("private network") && fault.contains("`localhost`"), "{fault}");
        let public = network.with_public(|ip| ip.is_loopback());
        assert!(public.resolve("localhost".parse().unwrap()).await.unwrap().count() > 0);
    }
}
