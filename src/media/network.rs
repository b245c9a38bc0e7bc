//! Distinguishes public internet addresses from those of a machine or a private network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Domain suffixes of private networks.
const PRIVATE_ZONES: [&str; 6] = ["localhost", "local", "internal", "lan", "intranet", "home.arpa"];
/// The metadata address of Azure machines. It looks like a public address, and is not one.
const AZURE_HOST: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Whether the host of `url` is public, as far as its spelling shows. No name is looked up.
pub(super) fn has_public_host(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => is_public_name(name),
        Some(Host::Ipv4(ip)) => is_public(ip.into()),
        Some(Host::Ipv6(ip)) => is_public(ip.into()),
        None => false,
    }
}

fn is_public_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let within = |zone: &str| name == zone || name.strip_suffix(zone).is_some_and(|head| head.ends_with('.'));
    name.contains('.') && !PRIVATE_ZONES.into_iter().any(within)
}

/// Whether the address means the same machine everywhere.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [first, second, third, _] = ip.octets();
    // This network, carriers' networks, the protocol's own addresses (and clouds' metadata), and the reserved rest.
    let reserved =
        first == 0 || (first == 100 && second & 0xc0 == 64) || (first, second, third) == (192, 0, 0) || first >= 240;
    let closed = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip == AZURE_HOST;
    !reserved && !closed
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    let v4_of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match segments {
        // An embedded IPv4 address: compatible, translated, or tunnelled.
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(v4_of(high, low)),
        [0x2002, high, low, ..] => is_public_v4(v4_of(high, low)),
        // Translated within one network.
        [0x64, 0xff9b, 1, ..] => false,
        // Site-local (deprecated).
        [first, ..] if first & 0xffc0 == 0xfec0 => false,
        _ => !(ip.is_multicast() || ip.is_unique_local() || ip.is_unicast_link_local()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_public_url(url: &str) -> bool {
        has_public_host(&Url::parse(url).unwrap_or_else(|e| panic!("{url}: {e}")))
    }

    #[test]
    fn a_private_address_is_known_however_it_is_written() {
        for private in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.0.0.1/",
            "http://0177.0.0.1/",
            "http://0/",
            "http://0.0.0.0/",
            "http://10.0.0.1/",
            "http://012.1.2.3/",
            "http://172.16.0.1/",
            "http://172.31.255.255/",
            "http://192.168.0.1/",
            "http://169.254.169.254/",
            "http://0xa9fea9fe/",
            "http://100.64.0.1/",
            "http://100.100.100.200/",
            "http://192.0.0.192/",
            "http://168.63.129.16/",
            "http://224.0.0.1/",
            "http://240.0.0.1/",
            "http://255.255.255.255/",
            "http://[::]/",
            "http://[::1]/",
            "http://[::127.0.0.1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:a00:1]/",
            "http://[64:ff9b::10.0.0.1]/",
            "http://[64:ff9b:1::1]/",
            "http://[2002:7f00:1::]/",
            "http://[fe80::1]/",
            "http://[fec0::1]/",
            "http://[fc00::1]/",
            "http://[fd00:ec2::254]/",
            "http://[ff02::1]/",
            "http://localhost/",
            "http://LOCALHOST./",
            "http://a.localhost/",
            "http://nas/",
            "http://metadata.google.internal/",
            "http://ⓛocalhost/",
            "http://127。0。0。1/",
        ] {
            assert!(!is_public_url(private), "{private}");
        }
    }

    #[test]
    fn the_internet_is_public() {
        for public in [
            "http://8.8.8.8/",
            "http://100.63.255.255/",
            "http://100.128.0.1/",
            "http://172.15.0.1/",
            "http://172.32.0.1/",
            "http://169.253.0.1/",
            "http://192.0.1.1/",
            "http://223.255.255.255/",
            "http://[2606:4700::1111]/",
            "http://[64:ff9b::8.8.8.8]/",
            "http://[2002:808:808::]/",
            "http://rec.example.com/",
            "http://localhost.example.com/",
            "http://mylocalhost.de/",
        ] {
            assert!(is_public_url(public), "{public}");
        }
    }
}
