# The hosts of a flake, with what is said of each about deploying.
let
  known = [ KNOWN ];
  keyAttributes = [ KEYS ];

  # A path would be copied into the store, and a secret with it.
  plain = value:
    if builtins.isPath value then toString value
    else if builtins.isList value then map plain value
    else value;
  given = set: builtins.removeAttrs set
    (builtins.filter (name: set.${name} == null) (builtins.attrNames set));
  pick = names: set: builtins.mapAttrs (_: plain)
    (given (builtins.intersectAttrs (builtins.listToAttrs (map (name: { inherit name; value = null; }) names)) set));
  key = name: key:
    if key.text or null != null
    then throw "key ${name}: `text` would be in the store; use keyFile, keyCommand or env"
    else pick keyAttributes key;
  settings = deployment: pick known (builtins.removeAttrs deployment [ "keys" ])
    // (if deployment ? keys then { keys = builtins.mapAttrs key deployment.keys; } else { });

  # A NixOS system with the options of a module such as colmena's.
  deployment = system:
    let config = system.config or { };
    in config.backstop.deployment or config.deployment or system.deployment or { };
  # colmena's word for a host that is only deployed to by itself.
  isLocal = system: (deployment system).targetHost or "" == null;

  # A node of deploy-rs: what its profile says counts before what it says itself.
  node = node:
    let
      levels = [ (node.profiles.system or { }) node deploy ];
      first = name:
        let having = builtins.filter (level: level.${name} or null != null) levels;
        in if having == [ ] then null else (builtins.head having).${name};
      fast = first "fastConnection";
      options = builtins.concatMap (level: level.sshOpts or [ ]) levels;
    in
    given {
      targetHost = node.hostname or null;
      targetUser = first "sshUser";
      sshOptions = if options == [ ] then null else options;
      buildOnTarget = first "remoteBuild";
      substituteOnDestination = if fast == null then null else !fast;
      confirm = first "magicRollback";
      confirmTimeout = first "confirmTimeout";
      activationTimeout = first "activationTimeout";
    };

  deploy = flake.deploy or { };
  nodes = deploy.nodes or { };
  hive = flake.colmenaHive.nodes or { };
  systems = flake.nixosConfigurations or { };

  # Where a flake says for another tool which hosts are deployed to, its other
  # systems are meant only if they say so themselves.
  chosen = builtins.filter
    (name:
      if systems ? ${name} && isLocal systems.${name} || hive ? ${name} && isLocal hive.${name} then false
      else if nodes ? ${name} then systems ? ${name} || hive ? ${name} || nodes.${name} ? profiles.system.path
      else hive ? ${name} || (nodes == { } && hive == { }) || deployment systems.${name} != { })
    (builtins.attrNames (nodes // hive // systems));
  attribute = name:
    if systems ? ${name} then "nixosConfigurations.\"${name}\".config.system.build.toplevel"
    else if hive ? ${name} then "colmenaHive.nodes.\"${name}\".config.system.build.toplevel"
    else "deploy.nodes.\"${name}\".profiles.system.path";
  host = name: {
    attribute = attribute name;
    settings =
      (if nodes ? ${name} then node nodes.${name} else { })
      // (if hive ? ${name} then settings (deployment hive.${name}) else { })
      // (if systems ? ${name} then settings (deployment systems.${name}) else { });
  };
in
builtins.listToAttrs (map (name: { inherit name; value = host name; }) chosen)
