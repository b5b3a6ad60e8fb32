# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2034,SC2154
# Apache httpd with the modules and settings that Debian's package has, in a ServerRoot of the row.
apache_web()	# apache_web MPM DIRECTIVE…
{
	local m

	mkdir -p www
	echo hello >www/index.html
	echo 1 >www/1k
	head -c 5000000 /dev/urandom >www/big
	{
		echo "ServerRoot $LAB_TMP"
		for m in "mpm_$1" authz_core dir mime ssl http2 proxy proxy_http socache_shmcb unixd; do
			[ "$m" = unixd ] || echo "LoadModule ${m}_module /usr/lib/apache2/modules/mod_$m.so"
		done
		cat <<-END
			ServerName here
			PidFile $LAB_TMP/apache.pid
			ErrorLog $LAB_TMP/error.log
			User www-data
			Group www-data
			DocumentRoot $LAB_TMP/www
			StartServers 2
			TypesConfig /etc/mime.types
			Mutex file:$LAB_TMP default
			Listen 80
		END
		printf '%s\n' "${@:2}"
	} >apache.conf
	touch error.log
	serve /usr/sbin/apache2 -f "$LAB_TMP/apache.conf" -k start -DFOREGROUND
	until_answer peer curl -sf -m 2 -o /dev/null "http://$HERE/"
}

apache_works()
{
	[ "$(peer curl -s "http://$HERE/")" = hello ] || fail "wrong page"
	peer curl -s -o got "http://$HERE/big" || fail "a large file"
	same got www/big "a large file"
	peer ab -q -c 16 -n 1000 "http://$HERE/1k" >ab.out 2>&1 || fail "ab: $(cat ab.out)"
	grep -q '^Failed requests: *0' ab.out || fail "ab: $(cat ab.out)"
	peer ab -q -k -c 16 -n 1000 "http://$HERE/1k" >ab.out 2>&1 || fail "ab -k: $(cat ab.out)"
}

slow
row apache-event "Apache httpd, event: TLS, HTTP/2, ab with and without -k" /usr/sbin/apache2 curl ab openssl
apache-event()
{
	openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=here 2>/dev/null
	apache_web event "Listen 443" "<VirtualHost *:443>" "SSLEngine on" "Protocols h2 http/1.1" \
		"SSLCertificateFile $LAB_TMP/cert.pem" "SSLCertificateKeyFile $LAB_TMP/key.pem" "</VirtualHost>"
	apache_works
	[ "$(peer curl -sk --http2 -w '%{http_version}' -o /dev/null "https://$HERE/")" = 2 ] || fail "not HTTP/2"
	peer curl -sk -o got "https://$HERE/big" || fail "TLS"
	same got www/big "a large file over TLS"
}

slow
row apache-prefork "Apache httpd, prefork" /usr/sbin/apache2 curl ab
apache-prefork()
{
	apache_web prefork
	apache_works
}

slow
row apache-worker "Apache httpd, worker, as a proxy of a server on the other side" /usr/sbin/apache2 curl ab python3
apache-worker()
{
	mkdir -p there
	head -c 300000 /dev/urandom >there/file
	peer_serve python3 -m http.server 8080 -d there
	peer_ready 8080
	apache_web worker "ProxyPass /there http://$THERE:8080"
	apache_works
	peer curl -s -o got "http://$HERE/there/file" || fail "through the proxy: $? $(tail -n 2 error.log)"
	same got there/file "what came through the proxy"
}

slow
row apache-graceful "Apache httpd, event: graceful restart" /usr/sbin/apache2 curl ab
apache-graceful()
{
	local old

	apache_web event
	apache_works
	old=$(pgrep -P "$(cat apache.pid)" | sort)
	kill -USR1 "$(cat apache.pid)"
	await apache_replaced "$old" || fail "the old children stay: $(left)"
	until_answer peer curl -sf -m 2 -o /dev/null "http://$HERE/"
	apache_works
}
apache_replaced()
{
	[ -z "$(comm -12 <(echo "$1") <(pgrep -P "$(cat apache.pid)" | sort))" ]
}
