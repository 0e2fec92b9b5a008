# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_sipban_global_optspecs
    string join \n c/config= d/daemon pid-file= n/dry-run V/version h/help
end

function __fish_sipban_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_sipban_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_sipban_using_subcommand
    set -l cmd (__fish_sipban_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c sipban -n "__fish_sipban_needs_command" -s c -l config -d 'Configuration file' -r -F
complete -c sipban -n "__fish_sipban_needs_command" -l pid-file -d 'File that holds the daemon\'s process number' -r -F
complete -c sipban -n "__fish_sipban_needs_command" -s d -l daemon -d 'Run as a daemon, with a pid file'
complete -c sipban -n "__fish_sipban_needs_command" -s n -l dry-run -d 'Dry run: judge and log, touch no firewall'
complete -c sipban -n "__fish_sipban_needs_command" -s V -l version -d 'Print the version'
complete -c sipban -n "__fish_sipban_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipban -n "__fish_sipban_needs_command" -f -a "replay" -d 'Judge a recorded AMI stream by its own timestamps and print the log lines it would have caused'
complete -c sipban -n "__fish_sipban_needs_command" -f -a "ctl" -d 'Do one console command and print its answer'
complete -c sipban -n "__fish_sipban_needs_command" -f -a "check" -d 'Look whether all that the daemon needs is there, a line each; exit 0 if every line says OK, else 1'
complete -c sipban -n "__fish_sipban_needs_command" -f -a "fleet" -d 'Whatever concerns all PBXs of the fleet'
complete -c sipban -n "__fish_sipban_needs_command" -f -a "stats" -d 'Say what the log files say: blocks by reason, hour and day, the most frequent addresses and networks'
complete -c sipban -n "__fish_sipban_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sipban -n "__fish_sipban_using_subcommand replay" -s c -l config -d 'Configuration file' -r -F
complete -c sipban -n "__fish_sipban_using_subcommand replay" -s h -l help -d 'Print help'
complete -c sipban -n "__fish_sipban_using_subcommand ctl" -l address -d 'Address of the console, if it is not on loopback' -r
complete -c sipban -n "__fish_sipban_using_subcommand ctl" -l port -d 'Port of the console, if it is not that of the configuration' -r
complete -c sipban -n "__fish_sipban_using_subcommand ctl" -s c -l config -d 'Configuration file' -r -F
complete -c sipban -n "__fish_sipban_using_subcommand ctl" -l json -d 'Print JSON'
complete -c sipban -n "__fish_sipban_using_subcommand ctl" -s h -l help -d 'Print help'
complete -c sipban -n "__fish_sipban_using_subcommand check" -l asterisk -d 'Folder of Asterisk\'s configuration' -r -F
complete -c sipban -n "__fish_sipban_using_subcommand check" -s c -l config -d 'Configuration file' -r -F
complete -c sipban -n "__fish_sipban_using_subcommand check" -l json -d 'Print JSON'
complete -c sipban -n "__fish_sipban_using_subcommand check" -s h -l help -d 'Print help'
complete -c sipban -n "__fish_sipban_using_subcommand fleet; and not __fish_seen_subcommand_from acl block unblock help" -s c -l config -d 'Configuration file' -r -F
complete -c sipban -n "__fish_sipban_using_subcommand fleet; and not __fish_seen_subcommand_from acl block unblock help" -s h -l help -d 'Print help'
complete -c sipban -n "__fish_sipban_using_subcommand fleet; and not __fish_seen_subcommand_from acl block unblock help" -f -a "acl" -d 'Print what makes the server know a member: an ACL under which it writes its own keys and no others'
complete -c sipban -n "__fish_sipban_using_subcommand fleet; and not __fish_seen_subcommand_from acl block unblock help" -f -a "block" -d 'Block an address or network at every PBX, as the administrator of the fleet; his password is read from stdin'
complete -c sipban -n "__fish_sipban_using_subcommand fleet; and not __fish_seen_subcommand_from acl block unblock help" -f -a "unblock" -d 'Free an address or network at every PBX, whoever blocks it, as the administrator of the fleet; his password is read from stdin'
complete -c sipban -n "__fish_sipban_using_subcommand fleet; and not __fish_seen_subcommand_from acl block unblock help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sipban -n "__fish_sipban_using_subcommand fleet; and __fish_seen_subcommand_from acl" -s c -l config -d 'Configuration file' -r -F
complete -c sipban -n "__fish_sipban_using_subcommand fleet; and __fish_seen_subcommand_from acl" -s h -l help -d 'Print help'
complete -c sipban -n "__fish_sipban_using_subcommand fleet; and __fish_seen_subcommand_from block" -s c -l config -d 'Configuration file' -r -F
complete -c sipban -n "__fish_sipban_using_subcommand fleet; and __fish_seen_subcommand_from block" -s h -l help -d 'Print help'
complete -c sipban -n "__fish_sipban_using_subcommand fleet; and __fish_seen_subcommand_from unblock" -s c -l config -d 'Configuration file' -r -F
complete -c sipban -n "__fish_sipban_using_subcommand fleet; and __fish_seen_subcommand_from unblock" -s h -l help -d 'Print help'
complete -c sipban -n "__fish_sipban_using_subcommand fleet; and __fish_seen_subcommand_from help" -f -a "acl" -d 'Print what makes the server know a member: an ACL under which it writes its own keys and no others'
complete -c sipban -n "__fish_sipban_using_subcommand fleet; and __fish_seen_subcommand_from help" -f -a "block" -d 'Block an address or network at every PBX, as the administrator of the fleet; his password is read from stdin'
complete -c sipban -n "__fish_sipban_using_subcommand fleet; and __fish_seen_subcommand_from help" -f -a "unblock" -d 'Free an address or network at every PBX, whoever blocks it, as the administrator of the fleet; his password is read from stdin'
complete -c sipban -n "__fish_sipban_using_subcommand fleet; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sipban -n "__fish_sipban_using_subcommand stats" -l html -d 'Write a page with pictures, which needs nothing but itself, into a file' -r -F
complete -c sipban -n "__fish_sipban_using_subcommand stats" -l top -d 'How many addresses and networks to name' -r
complete -c sipban -n "__fish_sipban_using_subcommand stats" -l days -d 'How many days to show bars for, the last ones; JSON, CSV and HTML have all of them' -r
complete -c sipban -n "__fish_sipban_using_subcommand stats" -s c -l config -d 'Configuration file' -r -F
complete -c sipban -n "__fish_sipban_using_subcommand stats" -l json -d 'Print JSON'
complete -c sipban -n "__fish_sipban_using_subcommand stats" -l csv -d 'Print CSV'
complete -c sipban -n "__fish_sipban_using_subcommand stats" -s h -l help -d 'Print help'
complete -c sipban -n "__fish_sipban_using_subcommand help; and not __fish_seen_subcommand_from replay ctl check fleet stats help" -f -a "replay" -d 'Judge a recorded AMI stream by its own timestamps and print the log lines it would have caused'
complete -c sipban -n "__fish_sipban_using_subcommand help; and not __fish_seen_subcommand_from replay ctl check fleet stats help" -f -a "ctl" -d 'Do one console command and print its answer'
complete -c sipban -n "__fish_sipban_using_subcommand help; and not __fish_seen_subcommand_from replay ctl check fleet stats help" -f -a "check" -d 'Look whether all that the daemon needs is there, a line each; exit 0 if every line says OK, else 1'
complete -c sipban -n "__fish_sipban_using_subcommand help; and not __fish_seen_subcommand_from replay ctl check fleet stats help" -f -a "fleet" -d 'Whatever concerns all PBXs of the fleet'
complete -c sipban -n "__fish_sipban_using_subcommand help; and not __fish_seen_subcommand_from replay ctl check fleet stats help" -f -a "stats" -d 'Say what the log files say: blocks by reason, hour and day, the most frequent addresses and networks'
complete -c sipban -n "__fish_sipban_using_subcommand help; and not __fish_seen_subcommand_from replay ctl check fleet stats help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sipban -n "__fish_sipban_using_subcommand help; and __fish_seen_subcommand_from fleet" -f -a "acl" -d 'Print what makes the server know a member: an ACL under which it writes its own keys and no others'
complete -c sipban -n "__fish_sipban_using_subcommand help; and __fish_seen_subcommand_from fleet" -f -a "block" -d 'Block an address or network at every PBX, as the administrator of the fleet; his password is read from stdin'
complete -c sipban -n "__fish_sipban_using_subcommand help; and __fish_seen_subcommand_from fleet" -f -a "unblock" -d 'Free an address or network at every PBX, whoever blocks it, as the administrator of the fleet; his password is read from stdin'
