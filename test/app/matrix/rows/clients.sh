# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2034,SC2154
# Clients here, the kernel's server there.
web_there()
{
	mkdir -p www
	echo hello >www/index.html
	head -c 3000000 /dev/urandom >www/big
	peer_serve python3 -m http.server 8080 -d www
	peer_ready 8080
}

row curl "curl: small and large pages, four at a time" curl python3
curl()
{
	web_there
	[ "$(fast curl -s "http://$THERE:8080/")" = hello ] || fail "wrong page"
	fast curl -s --parallel -o 'got#1' "http://$THERE:8080/big?[1-4]" || fail "curl: $?"
	same got4 www/big "a large file"
}

row wget "wget: a large file" wget python3
wget()
{
	web_there
	fast wget -q -O got "http://$THERE:8080/big" || fail "wget: $?"
	same got www/big "a large file"
}

row ab "ab as a client" ab python3
ab()
{
	web_there
	fast ab -q -c 8 -n 200 "http://$THERE:8080/" >ab.out 2>&1 || fail "ab: $(cat ab.out)"
	grep -q '^Failed requests: *0' ab.out || fail "ab: $(cat ab.out)"
}

slow
row wrk "wrk as a client: 16 connections of two threads" wrk nginx
wrk()
{
	nginx_conf 1 off
	peer_serve nginx -c "$LAB_TMP/nginx.conf"
	peer_ready 80
	fast wrk -t2 -c16 -d1s "http://$THERE/1k" >out 2>&1 || fail "wrk: $(cat out)"
	! grep 'Socket errors\|Non-2xx' out || fail "wrk: $(cat out)"
	grep -q '^Requests/sec: *[1-9]' out || fail "wrk: $(cat out)"
}

row nc "nc as a client and as a server: what it is given arrives" nc
nc()
{
	random_file sent 1000000
	peer nc -l -p 9999 >got &
	receiver=$!
	await listening "$LAB_CLIENT_NS" 9999 || fail "nc does not listen"
	fast nc -N "$THERE" 9999 <sent || fail "nc: $?"
	wait "$receiver"
	same got sent "what nc sent"
	fast nc -l -p 9998 >got2 &
	receiver=$!
	ready 9998
	peer nc -N "$HERE" 9998 <sent || fail "the peer's nc: $?"
	wait "$receiver"
	same got2 sent "what nc received"
}

row socat "socat: a fork a connection, as a server; as a client" socat
socat()
{
	random_file sent 300000
	serve socat TCP-LISTEN:7777,fork,reuseaddr OPEN:"$LAB_TMP/sent",rdonly
	ready 7777
	for i in 1 2 3; do
		peer socat -u "TCP:$HERE:7777" - >got || fail "socat: $?"
		same got sent "what socat sent"
	done
	look
	stop	# it holds the port
	peer socat -u TCP-LISTEN:7778,reuseaddr CREATE:"$LAB_TMP/got2" &
	receiver=$!
	await listening "$LAB_CLIENT_NS" 7778 || fail "the peer's socat does not listen"
	fast socat -u OPEN:"$LAB_TMP/sent" "TCP:$THERE:7778" || fail "socat as a client: $?"
	wait "$receiver"
	same got2 sent "what socat sent as a client"
}

slow
row iperf3 "iperf3 as a server: both directions, four streams" iperf3
iperf3()
{
	serve iperf3 -s
	ready 5201
	peer iperf3 -c "$HERE" -n 20M >out 2>&1 || fail "iperf3: $(tail -n 3 out)"
	peer iperf3 -c "$HERE" -n 20M -R -P 4 >out 2>&1 || fail "iperf3 -R: $(tail -n 3 out)"
}
