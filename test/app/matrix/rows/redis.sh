# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2034,SC2154
redis_at()	# redis_at PORT ARGS…
{
	mkdir -p "$LAB_TMP/redis$1"
	serve redis-server --port "$1" --bind 0.0.0.0 --protected-mode no --dir "$LAB_TMP/redis$1" --save '' "${@:2}"
	until_answer peer redis-cli -h "$HERE" -p "$1" ping
}

row redis "redis-server: redis-benchmark, a pipeline, a large value, BGSAVE, pub/sub" redis-server redis-cli redis-benchmark
redis()
{
	redis_at 6379
	peer redis-benchmark -h "$HERE" -n 3000 -c 50 -q -t get,set,lpush || fail "redis-benchmark"
	peer redis-benchmark -h "$HERE" -n 3000 -c 50 -P 16 -q -t get,set || fail "redis-benchmark with a pipeline"
	head -c 2000000 /dev/urandom | base64 -w0 >value
	peer redis-cli -h "$HERE" -x set big <value >/dev/null
	peer redis-cli -h "$HERE" bgsave >/dev/null
	peer redis-cli -h "$HERE" get big | head -c "$(stat -c %s value)" >got
	same value got "a large value"
	await redis_saved || fail "BGSAVE does not end"
	peer_serve redis-cli -h "$HERE" subscribe news
	await redis_subscribed || fail "nobody has subscribed"
	peer redis-cli -h "$HERE" publish news hello >/dev/null
	await grep -q hello peer.log || fail "what was published has not arrived"
}
redis_saved()
{
	peer redis-cli -h "$HERE" info persistence | grep -q 'rdb_last_bgsave_status:ok' && [ -s redis6379/dump.rdb ]
}
redis_subscribed()
{
	peer redis-cli -h "$HERE" pubsub numsub news | grep -qx 1
}

row redis-replica "redis-server as replica of one on the other side, and promoted" redis-server redis-cli
redis-replica()
{
	mkdir there
	peer_serve redis-server --port 6379 --bind 0.0.0.0 --protected-mode no --dir "$LAB_TMP/there" --save ''
	until_answer peer redis-cli -h "$THERE" set k before
	redis_at 6380 --replicaof "$THERE" 6379
	await redis_has before || fail "the first copy does not arrive"
	peer redis-cli -h "$THERE" set k after >/dev/null
	await redis_has after || fail "a change does not arrive"
	[ "$(peer redis-cli -h "$HERE" -p 6380 replicaof no one)" = OK ] || fail "cannot be promoted"
	[ "$(peer redis-cli -h "$HERE" -p 6380 set k mine)" = OK ] || fail "a promoted replica does not take a write"
}
redis_has()
{
	[ "$(peer redis-cli -h "$HERE" -p 6380 get k)" = "$1" ]
}

row redis-master "redis-server as master of a replica on the other side (fork for the first copy)" redis-server redis-cli
redis-master()
{
	redis_at 6379 --repl-diskless-sync-delay 0
	[ "$(peer redis-cli -h "$HERE" set k before)" = OK ] || fail "no write"
	mkdir there
	peer_serve redis-server --port 6380 --bind 0.0.0.0 --protected-mode no --dir "$LAB_TMP/there" --save '' \
		--replicaof "$HERE" 6379
	await redis_there before || fail "the first copy does not arrive"
	peer redis-cli -h "$HERE" set k after >/dev/null
	await redis_there after || fail "a change does not arrive"
}
redis_there()
{
	[ "$(peer redis-cli -h "$THERE" -p 6380 get k)" = "$1" ]
}

row redis-cli "redis-cli and redis-benchmark as clients" redis-server redis-cli redis-benchmark
redis-cli()
{
	mkdir there
	peer_serve redis-server --port 6379 --bind 0.0.0.0 --protected-mode no --dir "$LAB_TMP/there" --save ''
	until_answer peer redis-cli -h "$THERE" ping
	[ "$(fast redis-cli -h "$THERE" set k v)" = OK ] || fail "set"
	[ "$(fast redis-cli -h "$THERE" get k)" = v ] || fail "get"
	fast redis-benchmark -h "$THERE" -n 3000 -c 50 -q -t get,set || fail "redis-benchmark"
	fast redis-benchmark -h "$THERE" -n 3000 -c 50 --threads 2 -q -t get || fail "redis-benchmark with threads"
}
