# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2034,SC2154
# Servers that hand out files.
publish()
{
	mkdir www
	head -c 3000000 /dev/urandom >www/big
	echo small >www/small
	chmod 755 www
}

slow
row lighttpd "lighttpd: wget, 50 transfers of curl, ab with and without keep-alive" lighttpd wget curl ab
lighttpd()
{
	local urls=() i

	publish
	printf 'server.document-root="%s"\nserver.port=80\nserver.bind="0.0.0.0"\n' "$LAB_TMP/www" >l.conf
	serve lighttpd -D -f "$LAB_TMP/l.conf"
	ready 80
	peer wget -q -O got "http://$HERE/big" || fail "wget"
	cmp got www/big || fail "wget got something else"
	for ((i = 0; i < 50; i++)); do
		urls+=("http://$HERE/big" -o "got$i")
	done
	peer curl -sf --parallel "${urls[@]}" || fail "curl"
	for ((i = 0; i < 50; i++)); do
		cmp "got$i" www/big || fail "curl got something else"
	done
	peer ab -q -n 500 -c 10 "http://$HERE/small" | grep -q 'Failed requests: *0' || fail "ab"
	peer ab -q -k -n 2000 -c 10 "http://$HERE/small" | grep -q 'Failed requests: *0' || fail "ab -k"
}

slow
row rsync "rsync's daemon: a folder is copied, then again with a change" rsync
rsync()
{
	publish
	printf 'use chroot = no\n[www]\npath = %s\nuid = 0\ngid = 0\n' "$LAB_TMP/www" >rsyncd.conf
	serve rsync --daemon --no-detach --port 8730 --config "$LAB_TMP/rsyncd.conf"
	ready 8730
	peer rsync -a "rsync://$HERE:8730/www/" copy/ || fail "the first copy"
	echo more >>www/big
	peer rsync -a "rsync://$HERE:8730/www/" copy/ || fail "the second copy"
	diff -r www copy || fail "the copies differ"
}

# A child for the connection, which becomes the program's 0, in namespaces of its own and with a limit to its memory.
slow
known vsftpd port "it limits its address space to 200 MB (RLIMIT_AS), a port maps more than that, and its own mmap fails"
row vsftpd "vsftpd: passive and active transfers" vsftpd curl
vsftpd()
{
	publish
	mkdir empty
	cat >v.conf <<-END
		listen=YES
		listen_port=2121
		anonymous_enable=YES
		anon_root=$LAB_TMP/www
		secure_chroot_dir=$LAB_TMP/empty
		background=NO
		seccomp_sandbox=NO
	END
	chown root v.conf
	serve vsftpd "$LAB_TMP/v.conf"
	ready 2121
	peer curl -sf --max-time 20 "ftp://$HERE:2121/big" -o got || fail "passive"
	cmp got www/big || fail "passive: something else came"
	peer curl -sf --max-time 20 -P - "ftp://$HERE:2121/big" -o got2 || fail "active"
	cmp got2 www/big || fail "active: something else came"
}
