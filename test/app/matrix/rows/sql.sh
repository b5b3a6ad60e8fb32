# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2034,SC2154
PATH=$PATH:/usr/lib/postgresql/15/bin
postgres_at()	# postgres_at HOW DIR: HOW is serve or peer_serve
{
	local run=fast

	[ "$1" = serve ] || run=peer
	mkdir -p "$2"
	chown postgres "$2"
	as postgres $run initdb -D "$2" --no-sync -U postgres >initdb.log 2>&1 || fail "initdb: $(tail -5 initdb.log)"
	echo "host all all 0.0.0.0/0 trust" >>"$2/pg_hba.conf"
	as postgres "$1" postgres -D "$2" -c listen_addresses='*' -c unix_socket_directories="$2" -c fsync=off
}

slow
row postgres "PostgreSQL: initdb, fork per connection; pgbench from the other side, also with -C; cancel, COPY" initdb pgbench psql
postgres()
{
	postgres_at serve "$LAB_TMP/data"
	until_answer peer psql -h "$HERE" -U postgres -c 'select 1'
	peer pgbench -h "$HERE" -U postgres -i -q -s 1 postgres >bench.out 2>&1 || fail "pgbench -i: $(cat bench.out)"
	peer pgbench -h "$HERE" -U postgres -c 8 -t 40 -n postgres >bench.out 2>&1 || fail "pgbench: $(cat bench.out)"
	peer pgbench -h "$HERE" -U postgres -c 4 -t 15 -n -C -S postgres >bench.out 2>&1 || fail "pgbench -C: $(cat bench.out)"
	peer psql -h "$HERE" -U postgres -Atc 'copy (select * from pgbench_accounts) to stdout' | wc -l >copied
	[ "$(cat copied)" = 100000 ] || fail "COPY gave $(cat copied) rows"
	peer timeout -s INT 1 psql -h "$HERE" -U postgres -c 'select pg_sleep(50)' >cancel.out 2>&1
	grep -q 'canceling statement' cancel.out || fail "a query is not cancelled: $(cat cancel.out)"
	look
	stop INT
}

slow
row psql "psql and pgbench as clients" initdb pgbench psql
psql()
{
	postgres_at peer_serve "$LAB_TMP/data"
	until_answer peer psql -h "$THERE" -U postgres -c 'select 1'
	fast pgbench -h "$THERE" -U postgres -i -q -s 1 postgres >bench.out 2>&1 || fail "pgbench -i: $(cat bench.out)"
	fast pgbench -h "$THERE" -U postgres -c 8 -j 2 -t 40 -n postgres >bench.out 2>&1 || fail "pgbench: $(cat bench.out)"
	fast pgbench -h "$THERE" -U postgres -c 4 -t 15 -n -C -S postgres >bench.out 2>&1 || fail "pgbench -C: $(cat bench.out)"
	[ "$(fast psql -h "$THERE" -U postgres -Atc 'select count(*) from pgbench_accounts')" = 100000 ] || fail "psql"
}

mariadb_at()	# mariadb_at HOW DIR
{
	local run=fast

	[ "$1" = serve ] || run=peer
	mkdir -p "$2"
	chown mysql "$2"
	$run mariadb-install-db --no-defaults --datadir="$2" --user=mysql --skip-test-db >install.log 2>&1 ||
		fail "mariadb-install-db: $(tail -5 install.log)"
	printf '%s\n' "create user bench@'%';" "grant all on *.* to bench@'%';" >init.sql
	"$1" mariadbd --no-defaults --datadir="$2" --user=mysql --socket="$2/s" --pid-file="$2/pid" --bind-address=0.0.0.0 \
		--skip-name-resolve --init-file="$LAB_TMP/init.sql" --innodb-flush-log-at-trx-commit=0 --skip-log-bin
}

slow
row mariadb "MariaDB: a thread a connection; mysqlslap from the other side, 2 MB value" mariadbd mariadb-slap mariadb mariadb-install-db
mariadb()
{
	FASTNET_EARLY_OPEN=yes mariadb_at serve "$LAB_TMP/data"
	until_answer peer mariadb --no-defaults -h "$HERE" -u bench -e 'select 1' 
	peer mariadb-slap --no-defaults -h "$HERE" -u bench -a --concurrency=8 --number-of-queries=400 >slap.out 2>&1 ||
		fail "mysqlslap: $(cat slap.out)"
	[ "$(peer mariadb --no-defaults -h "$HERE" -u bench -NBe "select repeat('x', 2000000)" | wc -c)" = 2000001 ] ||
		fail "a large value"
}

slow
row mariadb-client "mariadb and mysqlslap as clients" mariadbd mariadb-slap mariadb mariadb-install-db
mariadb-client()
{
	mariadb_at peer_serve "$LAB_TMP/data"
	until_answer peer mariadb --no-defaults -h "$THERE" -u bench -e 'select 1'
	fast mariadb-slap --no-defaults -h "$THERE" -u bench -a --concurrency=8 --number-of-queries=400 >slap.out 2>&1 ||
		fail "mysqlslap: $(cat slap.out)"
	[ "$(fast mariadb --no-defaults -h "$THERE" -u bench -NBe "select repeat('x', 2000000)" | wc -c)" = 2000001 ] ||
		fail "a large value"
}
