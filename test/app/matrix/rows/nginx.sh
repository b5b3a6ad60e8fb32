# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2034,SC2154
# nginx as Debian configures it: master, workers as www-data, daemon on.

# nginx_web DIR WORKERS SERVER-BLOCK…: files and configuration.
nginx_web()
{
	mkdir -p "$1/www"
	chmod 755 "$1" "$1/www"
	echo hello >"$1/www/index.html"
	head -c 1024 /dev/zero | tr '\0' x >"$1/www/1k"
	head -c 5000000 /dev/urandom >"$1/www/big"
	cat >"$1/nginx.conf" <<-END
		user www-data;
		worker_processes $2;
		pid $1/nginx.pid;
		error_log $1/error.log info;
		events { worker_connections 1024; }
		http {
			access_log off;
			sendfile on;
			client_body_temp_path $1/body; proxy_temp_path $1/proxy; fastcgi_temp_path $1/fastcgi;
			uwsgi_temp_path $1/uwsgi; scgi_temp_path $1/scgi;
			${*:3}
		}
	END
}

nginx_server()
{
	serve /usr/sbin/nginx -c "$LAB_TMP/nginx.conf"
	until_answer peer curl -sf -m 2 -o /dev/null "http://$HERE/"
	await test -s nginx.pid || fail "nginx has not said its PID"
	servers=("$(cat nginx.pid)")
}

# nginx_pages URL-OF-DIR CURL-OPTIONS…: small and large pages come whole.
nginx_pages()
{
	[ "$(peer curl -s "${@:2}" "$1/")" = hello ] || fail "wrong page"
	peer curl -s "${@:2}" -o got "$1/big" || fail "curl of a large file: $?"
	same got www/big "a large file"
}

# nginx_load SECONDS WRK-OPTIONS…: requests in the background of the row; nginx_loaded judges.
nginx_load()
{
	peer wrk -t1 -c32 -d"$1" "${@:2}" "http://$HERE/1k" >wrk.out 2>&1 &
	load_pid=$!
}
nginx_loaded()
{
	wait "$load_pid" || fail "wrk: $(cat wrk.out)"
	! grep -qE 'Socket errors|Non-2xx' wrk.out || fail "wrk: $(cat wrk.out)"
	[ "$(awk '/requests in/ { print $1 }' wrk.out)" -gt 100 ] || fail "wrk did next to nothing: $(cat wrk.out)"
}

row nginx "nginx: master, 2 workers as www-data; curl, wrk, ab, 5 MB" nginx curl wrk ab
nginx()
{
	nginx_web "$LAB_TMP" 2 "server { listen 80; root $LAB_TMP/www; }"
	nginx_server
	nginx_pages "http://$HERE"
	nginx_load 1s
	nginx_loaded
	peer ab -q -c 16 -n 1000 "http://$HERE/1k" >ab.out 2>&1 || fail "ab: $(cat ab.out)"
	grep -q '^Failed requests: *0' ab.out || fail "ab: $(cat ab.out)"
	stop QUIT
}

row nginx-reload "nginx -s reload, three times under load, 2 workers" nginx curl wrk
nginx-reload()
{
	local i old

	nginx_web "$LAB_TMP" 2 "server { listen 80; root $LAB_TMP/www; }"
	nginx_server
	for i in 1 2 3; do
		old=$(pgrep -P "$(cat nginx.pid)" | sort)
		# without kept ones, as in nginx-usr2; a port changes hands here, too: what comes meanwhile is refused
		nginx_load 1s -H "Connection: close"
		fast nginx -c "$LAB_TMP/nginx.conf" -s reload
		if [ "$MODE" = port ]; then
			wait "$load_pid" && ! grep -q Non-2xx wrk.out || fail "wrk: $(cat wrk.out)"
		else
			nginx_loaded
		fi
		await nginx_replaced "$old" || fail "the old workers stay: $(left)"
		until_answer peer curl -sf -m 2 -o /dev/null "http://$HERE/"
		nginx_pages "http://$HERE"
	done
	stop QUIT
}
nginx_replaced()
{
	[ -z "$(comm -12 <(echo "$1") <(pgrep -P "$(cat nginx.pid)" | sort))" ]
}

row nginx-usr2 "nginx: the binary replaced while it serves (USR2, WINCH, QUIT)" nginx curl wrk
nginx-usr2()
{
	local old

	nginx_web "$LAB_TMP" 1 "server { listen 80; root $LAB_TMP/www; }"
	nginx_server
	old=$(cat nginx.pid)
	nginx_pages "http://$HERE"
	# without kept ones, which end with the old worker: a request on its way then is an error natively, too; on a port
	# nobody serves while it changes hands
	[ "$MODE" = port ] || nginx_load 2s -H "Connection: close"
	kill -USR2 "$old"
	await test -s nginx.pid.oldbin -a -s nginx.pid || fail "no new master"
	[ "$MODE" = native ] || grep -q libfastnet "/proc/$(cat nginx.pid)/maps" || fail "the new master is not under Fastnet"
	kill -WINCH "$old"
	await nginx_workerless "$old" || fail "the old worker stays: $(left)"
	[ "$MODE" = port ] || nginx_loaded
	until_answer peer curl -sf -m 2 -o /dev/null "http://$HERE/"
	nginx_pages "http://$HERE"
	kill -QUIT "$old"
	lab_await_exit "$old" 10 || fail "the old master does not end"
	servers=("$(cat nginx.pid)")
	nginx_pages "http://$HERE"
	stop QUIT
}
nginx_workerless()
{
	[ "$(pgrep -P "$1")" = "$(cat nginx.pid)" ]
}

row nginx-proxy "nginx: proxy_pass to a server on the other side, kept connections" nginx curl wrk
nginx-proxy()
{
	mkdir there
	nginx_web "$LAB_TMP/there" 1 "server { listen 8080; root $LAB_TMP/there/www; }"
	peer_serve nginx -c "$LAB_TMP/there/nginx.conf" -g "daemon off;"
	peer_ready 8080
	nginx_web "$LAB_TMP" 1 "upstream u { server $THERE:8080; keepalive 8; }" "server { listen 80;" \
		'location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; } }'
	nginx_server
	cp there/www/big www/big
	nginx_pages "http://$HERE"
	nginx_load 1s
	nginx_loaded
	peer curl -s -m 20 --data-binary @www/big -o /dev/null "http://$HERE/1k" || fail "POST through the proxy"
	stop QUIT
}

certificate()
{
	openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=fastnet 2>/dev/null
	chmod 644 key.pem
}

row nginx-tls "nginx: TLS 1.2 and 1.3, HTTP/2" nginx curl openssl
nginx-tls()
{
	certificate
	nginx_web "$LAB_TMP" 2 "ssl_certificate $LAB_TMP/cert.pem; ssl_certificate_key $LAB_TMP/key.pem;" \
		"server { listen 80; listen 443 ssl http2; root $LAB_TMP/www; }"
	nginx_server
	nginx_pages "https://$HERE" -k --http1.1 --tls-max 1.2
	nginx_pages "https://$HERE" -k --http2
	[ "$(peer curl -sk -o /dev/null -w '%{http_version} %{http_code}' "https://$HERE/")" = "2 200" ] || fail "not HTTP/2"
	peer curl -sk --parallel --http2 -o 'got#1' "https://$HERE/big?[1-6]" || fail "parallel streams"
	same got6 www/big "a stream"
	stop QUIT
}

row nginx-stream "nginx: several listeners, deferred, a UNIX socket, unbuffered upload" nginx curl
nginx-stream()
{
	nginx_web "$LAB_TMP" 2 \
		"server { listen 80; listen 81; listen 82 deferred; listen unix:$LAB_TMP/s; root $LAB_TMP/www; }"
	nginx_server
	nginx_pages "http://$HERE"
	nginx_pages "http://$HERE:81"
	nginx_pages "http://$HERE:82"
	[ "$(fast curl -s --unix-socket s http://here/)" = hello ] || fail "UNIX socket"
	look
	stop QUIT
}

row nginx-reuseport "nginx: listen reuseport, 2 workers" nginx curl
nginx-reuseport()
{
	local i

	nginx_web "$LAB_TMP" 2 "server { listen 80 reuseport; root $LAB_TMP/www; }"
	serve /usr/sbin/nginx -c "$LAB_TMP/nginx.conf"
	ready 80
	servers=("$(cat nginx.pid)")
	for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
		until_answer peer curl -sf -m 2 -o /dev/null "http://$HERE/"
		[ "$(peer curl -s -m 3 "http://$HERE/")" = hello ] || fail "no answer to request $i"
	done
	stop QUIT
}

slow
row php-fpm "PHP-FPM behind nginx: a UNIX socket and TCP over loopback" nginx curl php-fpm8.2
php-fpm()
{
	local way

	mkdir php
	chmod 755 php
	echo '<?php echo "php ", strlen(file_get_contents("php://input")), " ", $_SERVER["REMOTE_ADDR"];' >php/t.php
	cat >fpm.conf <<-END
		[global]
		error_log = $LAB_TMP/fpm.log
		[www]
		user = www-data
		group = www-data
		listen = $LAB_TMP/fpm.sock
		listen.mode = 0666
		pm = dynamic
		pm.max_children = 4
		pm.start_servers = 2
		pm.min_spare_servers = 1
		pm.max_spare_servers = 3
		[tcp]
		user = www-data
		listen = 127.0.0.1:9000
		pm = ondemand
		pm.max_children = 2
	END
	way='include /etc/nginx/fastcgi_params; fastcgi_param SCRIPT_FILENAME '$LAB_TMP/php/t.php';'
	nginx_web "$LAB_TMP" 1 "server { listen 80; root $LAB_TMP/www;" \
		"location /unix { $way fastcgi_pass unix:$LAB_TMP/fpm.sock; }" \
		"location /tcp { $way fastcgi_pass 127.0.0.1:9000; } }"
	serve php-fpm8.2 -F -y "$LAB_TMP/fpm.conf"
	fpm=$LAB_SERVER_PID
	await test -S fpm.sock || fail "PHP-FPM does not start"
	nginx_server
	[ "$(peer curl -s -d 12345 "http://$HERE/unix")" = "php 5 $FROM" ] || fail "over the UNIX socket"
	[ "$(peer curl -s --data-binary @www/1k "http://$HERE/tcp")" = "php 1024 $FROM" ] || fail "over TCP"
	peer ab -q -c 8 -n 300 "http://$HERE/unix" >ab.out 2>&1 || fail "ab: $(cat ab.out)"
	grep -q '^Failed requests: *0' ab.out || fail "ab: $(cat ab.out)"
	look
	stop QUIT
	servers=("$fpm")
	stop QUIT
}
