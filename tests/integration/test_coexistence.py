"""podd beside the rules of others: of the shape that kube-proxy, firewalld and Docker make them."""
import contextlib
import re
import subprocess

import cri_pb2 as cri
import pytest

from lib import network
from lib.cri import Pod, wait_until

OUTSIDE, NODE, PORT = "192.0.2.2", "192.0.2.1", 12090
SERVICE = "10.96.0.10"


def sh(script, check=True):
    done = subprocess.run(["sh", "-ec", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, encoding="utf-8")
    assert done.returncode == 0 or not check, f"{script}: {done.stdout}"
    return done.stdout


# ---- Their rules ----------------------------------------------------------------------------------
# {ipt} is iptables or iptables-legacy, {pod} the address of a pod.

KUBE_PROXY_IPTABLES = """
{ipt}-restore --noflush <<END
*filter
:KUBE-FIREWALL - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
-A INPUT -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL
-A INPUT -j KUBE-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES
-A OUTPUT -m conntrack --ctstate NEW -j KUBE-SERVICES
-A OUTPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A KUBE-SERVICES -d 10.96.0.99/32 -p tcp -m tcp --dport 80 -j REJECT
COMMIT
*nat
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-WEB - [0:0]
:KUBE-SEP-WEB1 - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A OUTPUT -j KUBE-SERVICES
-A POSTROUTING -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-WEB
-A KUBE-SVC-WEB ! -s 10.86.0.0/16 -j KUBE-MARK-MASQ
-A KUBE-SVC-WEB -j KUBE-SEP-WEB1
-A KUBE-SEP-WEB1 -s {pod}/32 -j KUBE-MARK-MASQ
-A KUBE-SEP-WEB1 -p tcp -m tcp -j DNAT --to-destination {pod}:80
COMMIT
END
"""

KUBE_PROXY_NFTABLES = """
nft -f - <<END
table ip kube-proxy {{
  map service-ips {{
    type ipv4_addr . inet_proto . inet_service : verdict
    elements = {{ 10.96.0.10 . tcp . 80 : goto service-web }}
  }}
  map no-endpoint-services {{
    type ipv4_addr . inet_proto . inet_service : verdict
    elements = {{ 10.96.0.99 . tcp . 80 : goto reject-chain }}
  }}
  chain filter-prerouting {{ type filter hook prerouting priority -110; ct state new jump firewall-check; }}
  chain filter-forward {{ type filter hook forward priority -110; ct state new jump endpoints-check; }}
  chain filter-output {{ type filter hook output priority -110; ct state new jump endpoints-check; }}
  chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
  chain nat-output {{ type nat hook output priority -100; jump services; }}
  chain nat-postrouting {{ type nat hook postrouting priority srcnat; jump masquerading; }}
  chain firewall-check {{ }}
  chain reject-chain {{ reject; }}
  chain endpoints-check {{ ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }}
  chain mark-for-masquerade {{ meta mark set meta mark or 0x4000; }}
  chain masquerading {{
    meta mark & 0x4000 == 0 return
    meta mark set meta mark xor 0x4000
    masquerade fully-random
  }}
  chain services {{ ip daddr . meta l4proto . th dport vmap @service-ips; }}
  chain service-web {{
    ip daddr 10.96.0.10 tcp dport 80 ip saddr != 10.86.0.0/16 jump mark-for-masquerade
    goto endpoint-web
  }}
  chain endpoint-web {{ ip saddr {pod} jump mark-for-masquerade; meta l4proto tcp dnat to {pod}:80; }}
}}
END
"""

# With the bridge in no zone of its own: it is in the default one, with the uplink.
FIREWALLD = """
nft -f - <<END
table inet firewalld {{
  chain raw_PREROUTING {{ type filter hook prerouting priority raw + 10; icmpv6 type {{ nd-router-advert, nd-neighbor-solicit }} accept; meta nfproto ipv6 fib saddr . mark . iif oif missing drop; }}
  chain mangle_PREROUTING {{ type filter hook prerouting priority mangle + 10; }}
  chain nat_PREROUTING {{ type nat hook prerouting priority dstnat + 10; }}
  chain nat_POSTROUTING {{ type nat hook postrouting priority srcnat + 10; }}
  chain filter_INPUT {{
    type filter hook input priority filter + 10; policy accept;
    ct state {{ established, related }} accept
    ct status dnat accept
    iifname "lo" accept
    ct state invalid drop
    tcp dport 22 accept
    reject with icmpx admin-prohibited
  }}
  chain filter_FORWARD {{
    type filter hook forward priority filter + 10; policy accept;
    ct state {{ established, related }} accept
    ct status dnat accept
    iifname "lo" accept
    ct state invalid drop
    oifname {{ "up0", "podd0" }} iifname {{ "up0", "podd0" }} accept
    reject with icmpx admin-prohibited
  }}
}}
END
"""

DOCKER = """
{ipt}-restore --noflush <<END
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 9999 -j DNAT --to-destination 172.17.0.2:80
COMMIT
END
"""

CLEAN = """
for ipt in iptables iptables-legacy; do
    $ipt -P FORWARD ACCEPT
    for table in filter nat; do $ipt -t $table -F; $ipt -t $table -X; done
done
for table in 'ip filter' 'ip nat' 'ip kube-proxy' 'inet firewalld' 'inet admin'; do
    nft delete table $table || true
done
"""


def theirs():
    """All rules but podd's own, without counters."""
    tables = [line for line in sh("nft list tables").splitlines() if "podd-" not in line]
    text = "".join(sh(f"nft list {table}") for table in tables) + sh("iptables-legacy-save")
    return re.sub(r"packets \d+ bytes \d+|\[\d+:\d+\]|^#.*$", "", text, flags=re.M)


@pytest.fixture
def street(podd, outside, no_leaks):
    """A pod that publishes a port, another one, and the host outside; rules are cleaned up."""
    web = Pod(podd, port_mappings=[cri.PortMapping(container_port=80, host_port=PORT)])
    other = Pod(podd)
    places = {"web": network.namespace_of(podd, web.start("busybox", ["sleep", "1000"])),
              "other": network.namespace_of(podd, other.start("busybox", ["sleep", "1000"])),
              "outside": network.named(outside), "node": None}
    with network.listen(places["web"], 80) as server, \
            network.listen(places["outside"], 80) as far, contextlib.ExitStack() as stack:
        stack.callback(sh, CLEAN, check=False)
        sh(f"ip route add default via {OUTSIDE}")  # goes with its link
        yield {"ip": web.status().network.ip, "server": server, "far": far, **places}
    web.remove()
    other.remove()


def works(street, name, timeout=5):
    """One of the ways that packets go."""
    server, far, ip = street["server"], street["far"], street["ip"]
    ways = {
        "pod to pod": (server, "other", ip, 80, "10.86."),
        "node to pod": (server, "node", ip, 80, "10.86.0.1"),
        "pod to outside": (far, "other", OUTSIDE, 80, NODE),
        "outside to port": (server, "outside", NODE, PORT, OUTSIDE),
        "node to port": (server, "node", NODE, PORT, ""),
        "loopback to port": (server, "node", "127.0.0.1", PORT, "10.86.0.1"),
        "pod to port": (server, "other", NODE, PORT, ""),
        "pod to its own port": (server, "web", NODE, PORT, ""),
        "node to service": (server, "node", SERVICE, 80, ""),
        "pod to service": (server, "other", SERVICE, 80, ""),
        "pod to its own service": (server, "web", SERVICE, 80, ""),
    }
    listener, place, to, port, seen = ways[name]
    got = network.converse(listener, street[place], to, port, timeout=timeout)
    return got is not None and got.startswith(seen)


PODD = ["pod to pod", "node to pod", "pod to outside", "outside to port", "node to port",
        "loopback to port", "pod to port", "pod to its own port"]
SERVICES = ["node to service", "pod to service", "pod to its own service"]


def assert_works(street, ways):
    assert not [way for way in ways if not works(street, way)]


@pytest.mark.parametrize("rules, ipt, ways", [
    (KUBE_PROXY_IPTABLES, "iptables", PODD + SERVICES),
    (KUBE_PROXY_IPTABLES, "iptables-legacy", PODD + SERVICES),
    pytest.param(KUBE_PROXY_NFTABLES, "", PODD + SERVICES, marks=pytest.mark.vm),
    (FIREWALLD, "", PODD),
], ids=["kube-proxy-iptables", "kube-proxy-iptables-legacy", "kube-proxy-nftables", "firewalld"])
def test_all_ways_work_beside(podd, street, rules, ipt, ways):
    sh(rules.format(ipt=ipt, pod=street["ip"]))
    before = theirs()
    assert_works(street, ways)
    assert theirs() == before  # podd has touched none of it
    assert network_condition(podd).reason == ""


def network_condition(podd):
    conditions = podd.runtime.Status(cri.StatusRequest()).status.conditions
    return {c.type: c for c in conditions}["NetworkReady"]


def wait_for_warning(podd, there=True):
    return wait_until(lambda: (network_condition(podd).reason == "ForwardingDropped") == there
                      and network_condition(podd), 20, "what podd says")


@pytest.mark.parametrize("ipt", [pytest.param("iptables", marks=pytest.mark.vm), "iptables-legacy"])
def test_docker_that_drops_is_told_and_what_is_told_helps(podd, street, ipt):
    sh(DOCKER.format(ipt=ipt))
    before = theirs()
    condition = wait_for_warning(podd)
    assert condition.status  # pods of the node reach each other
    assert_works(street, ["node to pod", "node to port", "loopback to port"])
    assert not works(street, "pod to outside", 0.5) and not works(street, "outside to port", 0.5)
    assert theirs() == before  # podd makes no hole in somebody else's rules
    command = re.search("`(.*)`", condition.message).group(1)
    assert command == (f"{ipt} -I DOCKER-USER -i podd0 -j ACCEPT; "
                       f"{ipt} -I DOCKER-USER -o podd0 -j ACCEPT")
    assert command in podd.log.read_text()
    sh(command)
    assert_works(street, PODD)
    wait_for_warning(podd, False)


def test_a_policy_of_an_administrator_is_told_unless_it_knows_podd(podd, street):
    chain = ("nft add table inet admin; nft add chain inet admin f "
             "'{ type filter hook forward priority 0; policy drop; }'")
    sh(chain)
    condition = wait_for_warning(podd)
    sh(re.search("`(.*)`", condition.message).group(1))
    assert_works(street, PODD)
    wait_for_warning(podd, False)
    sh("nft delete table inet admin; " + chain)
    wait_for_warning(podd)
    sh("nft add rule inet admin f iifname '{ podd0, up0 }' accept")  # in a set, not in the rule
    assert_works(street, PODD)
    wait_for_warning(podd, False)


def test_a_drop_of_the_administrator_stays_a_drop(podd, street):
    rules = "nft {} rule inet podd-podd0"
    sh(f"{rules.format('add')} user iifname up0 tcp dport {PORT} drop")
    try:
        assert not works(street, "outside to port", 0.5)
        assert_works(street, ["node to port", "pod to port", "pod to outside"])
        sh("nft flush chain inet podd-podd0 user")
        assert_works(street, ["outside to port"])
        sh(f"{rules.format('add')} user_forward iifname podd0 ct state new ip daddr {OUTSIDE} drop")
        assert not works(street, "pod to outside", 0.5)
        assert_works(street, ["outside to port", "pod to pod"])
    finally:
        sh("nft flush chain inet podd-podd0 user; nft flush chain inet podd-podd0 user_forward")
    # And in tables of his own, before and after podd's.
    for priority in (-200, 200):
        sh(f"""nft add table inet admin; nft add chain inet admin f \
               '{{ type filter hook forward priority {priority}; }}'
               nft add rule inet admin f oifname podd0 ct status dnat drop""")
        assert not works(street, "outside to port", 0.5)
        sh("nft delete table inet admin")
    assert_works(street, ["outside to port"])
