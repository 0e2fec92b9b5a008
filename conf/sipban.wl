# SIPban white list: what is never blocked. One entry a line: an address, a network or a host name.
# Everything from # or ; on is a comment. Reload with SIGHUP, or use "wl add" and "wl del" on the console.
# This machine's own addresses, its gateways and name servers, and the address of Asterisk's manager interface are
# protected without being listed.

127.0.0.1

#192.168.1.0/24         # the office
#2001:db8:1::/48
#203.0.113.10           # provider of our trunk
#sip.example.com        # looked up again every few minutes
